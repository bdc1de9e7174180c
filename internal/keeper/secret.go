package keeper

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"tenement.dev/internal/tenant"
	"tenement.dev/units"
)

const (
	// sealedBySystemd is what the names of files end with that systemd-creds(1) has made,
	// sealedByUs that of those which are encrypted with the vault's own key.
	sealedBySystemd, sealedByUs = ".cred", ".sealed"
	// sealTime bounds a run of systemd-creds.
	sealTime = 20 * time.Second
)

// vault keeps the values of secrets, encrypted: with the machine's key, where the
// system's manager is there to decrypt them, else with a key in a file beside them that
// this user alone can read. Each lies in a file; those of a service are in a directory of
// its name, those of an instance in one of the instance's.
type vault struct {
	dir   string // the values
	key   string // the file of the vault's own key
	plain string // what systemd cannot decrypt, decrypted for it, while units are loaded; on a tmpfs
	user  bool
	log   *slog.Logger
}

func newVault(h units.Host, log *slog.Logger) *vault {
	dir := filepath.Join(h.DataRoot, ".secrets") // the name of no service
	return &vault{dir: dir, key: filepath.Join(dir, ".key"), plain: filepath.Join(h.RuntimeDir, "secrets"), user: h.User, log: log}
}

// dirOf is the directory of an instance's secrets, or of a service's where id has no name.
func (v *vault) dirOf(id tenant.ID) string {
	if id.Name == "" {
		return filepath.Join(v.dir, id.Service)
	}
	return filepath.Join(v.dir, units.FileName(id))
}

// SetSecret keeps the value of an instance's secret, or of a service's where id has no
// name. Instances get it with their next start.
func (l *Local) SetSecret(ctx context.Context, id tenant.ID, name string, value []byte) error {
	if err := checkOwner(id); err != nil {
		return err
	}
	if err := tenant.CheckSecret(name, value, false); err != nil {
		return err
	}
	if err := l.vault.set(ctx, id, name, value); err != nil {
		return fmt.Errorf("keep secret %s of %s: %w", name, owned(id), err)
	}
	return nil
}

// RemoveSecrets forgets the named secrets of an instance, or of a service where id has no
// name; all, if none is named.
func (l *Local) RemoveSecrets(_ context.Context, id tenant.ID, names ...string) error {
	if err := checkOwner(id); err != nil {
		return err
	}
	dir := l.vault.dirOf(id)
	var err error
	if len(names) == 0 {
		err = os.RemoveAll(dir)
	}
	for _, name := range names {
		if err := tenant.CheckSecretName(name); err != nil {
			return err
		}
		err = errors.Join(err, remove(filepath.Join(dir, name+sealedBySystemd)), remove(filepath.Join(dir, name+sealedByUs)))
	}
	if err != nil {
		return fmt.Errorf("remove secrets of %s: %w", owned(id), err)
	}
	return nil
}

// checkOwner checks what becomes a path.
func checkOwner(id tenant.ID) error {
	if err := tenant.CheckLabel("service", id.Service); err != nil || id.Name == "" {
		return err
	}
	return tenant.CheckLabel("instance", id.Name)
}

func owned(id tenant.ID) string {
	if id.Name == "" {
		return "service " + id.Service
	}
	return id.String()
}

func (v *vault) set(ctx context.Context, id tenant.ID, name string, value []byte) error {
	dir := v.dirOf(id)
	if err := makeWay(filepath.Dir(v.dir)); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	text, ending, other := []byte(nil), sealedBySystemd, sealedByUs
	if !v.user {
		var err error
		if text, err = sealBySystemd(ctx, name, value); err != nil {
			v.log.Warn("secret not encrypted with the machine's key, but with one of Tenement's own", "secret", name, "of", owned(id), "err", err)
		}
	}
	if text == nil {
		ending, other = other, ending
		aead, err := v.cipher()
		if err != nil {
			return err
		}
		nonce := make([]byte, aead.NonceSize())
		_, _ = rand.Read(nonce) // never fails
		text = aead.Seal(nonce, nonce, value, about(id, name))
	}
	path := filepath.Join(dir, name)
	if err := writeAtomically(path+ending, text, 0o600); err != nil {
		return err
	}
	return remove(path + other)
}

// sealBySystemd has a value encrypted with the machine's key, which systemd makes the first
// time (systemd-creds(1), "encrypt", "--with-key=host"). A TPM is left alone: a backup
// of the machine shall be good on another.
func sealBySystemd(ctx context.Context, name string, value []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, sealTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, "systemd-creds", "encrypt", "--with-key=host", "--name="+name, "-", "-")
	cmd.Stdin = bytes.NewReader(value)
	var said bytes.Buffer
	cmd.Stderr = &said
	text, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("systemd-creds: %w: %s", err, firstLine(strings.TrimSpace(said.String())))
	}
	return text, nil
}

// cipher is that of the vault's own key, which it makes the first time.
func (v *vault) cipher() (cipher.AEAD, error) {
	key, err := os.ReadFile(v.key)
	if errors.Is(err, fs.ErrNotExist) {
		key = make([]byte, 32)
		_, _ = rand.Read(key) // never fails
		err = writeAtomically(v.key, key, 0o600)
	}
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", v.key, err)
	}
	return cipher.NewGCM(block)
}

// about is what a value is sealed together with: none can take another's place.
func about(id tenant.ID, name string) []byte { return []byte(id.Service + ":" + id.Name + ":" + name) }

// load gives the files of an instance's secrets for its unit.
func (v *vault) load(spec tenant.Spec) ([]units.Credential, error) {
	if err := v.unload(spec.ID); err != nil { // of an earlier load
		return nil, err
	}
	var list []units.Credential
	for _, ref := range spec.Secrets {
		if err := tenant.CheckSecretName(ref.Name); err != nil {
			return nil, err
		}
		owner := spec.ID
		if ref.Service {
			owner.Name = ""
		}
		path := filepath.Join(v.dirOf(owner), ref.Name)
		if exists(path + sealedBySystemd) {
			list = append(list, units.Credential{Name: ref.Name, Path: path + sealedBySystemd, Encrypted: true})
			continue
		}
		value, err := v.open(path+sealedByUs, owner, ref.Name)
		if err != nil {
			return nil, &tenant.Error{
				Code: tenant.CodeUnavailable, Op: "load", ID: spec.ID, Err: err,
				Msg:  fmt.Sprintf("the value of secret %s of %s cannot be read", ref.Name, owned(owner)),
				Hint: "set it again with `ten secret set`, or remove it",
			}
		}
		dir := filepath.Join(v.plain, units.FileName(spec.ID))
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, err
		}
		file := filepath.Join(dir, ref.Name)
		if err := writeAtomically(file, value, 0o600); err != nil {
			return nil, err
		}
		list = append(list, units.Credential{Name: ref.Name, Path: file})
	}
	return list, nil
}

// open gives the value in a file that was encrypted with the vault's own key.
func (v *vault) open(path string, id tenant.ID, name string) ([]byte, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	aead, err := v.cipher()
	if err != nil {
		return nil, err
	}
	if len(text) < aead.NonceSize() {
		return nil, fmt.Errorf("%s is cut short", path)
	}
	n := aead.NonceSize()
	return aead.Open(nil, text[:n], slices.Clone(text[n:]), about(id, name))
}

// unload removes what load has decrypted.
func (v *vault) unload(id tenant.ID) error {
	return os.RemoveAll(filepath.Join(v.plain, units.FileName(id)))
}

// remove removes a file that may not be there.
func remove(path string) error {
	if err := os.Remove(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
