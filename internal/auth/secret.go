package auth

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"strings"
)

// Prefix is what every secret begins with, so that people and scanners for lost secrets
// know it.
const Prefix = "ten_"

// alphabet is RFC 4648's base32 in lower case: nothing that a shell or a URL minds.
var alphabet = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// idBytes is the length of a token's ID before it is encoded.
const idBytes = 5

// newSecret makes 256 random bits into a secret.
func newSecret() string {
	var b [32]byte
	_, _ = rand.Read(b[:]) // it never fails
	return Prefix + alphabet.EncodeToString(b[:])
}

// newID makes a name for a token.
func newID() string {
	var b [idBytes]byte
	_, _ = rand.Read(b[:])
	return alphabet.EncodeToString(b[:])
}

// wellFormed reports whether s can be a secret at all.
func wellFormed(s string) bool {
	return strings.HasPrefix(s, Prefix) && len(s) == len(Prefix)+alphabet.EncodedLen(32)
}

// hash is what is kept of a secret. A slow hash would protect nothing: nobody guesses
// 256 bits.
func hash(secret string) [32]byte { return sha256.Sum256([]byte(secret)) }
