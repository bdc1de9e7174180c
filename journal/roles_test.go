package journal

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"

	sdjournal "github.com/coreos/go-systemd/v22/journal"

	"tenement.dev/internal/tenant"
)

// roleEnv says what the test binary does instead of testing, argumentEnv with what.
const (
	roleEnv     = "TENEMENT_TEST_JOURNAL_ROLE"
	argumentEnv = "TENEMENT_TEST_JOURNAL_ARGUMENT"
)

var roles = map[string]func(){
	"send": roleSend, "send-huge": roleSendHuge, "read-user": roleReadUser, "read-system": roleReadSystem,
}

// roleSend sends its argument to the journal as a datagram in the native protocol
// (systemd.io/JOURNAL_NATIVE_PROTOCOL), as any app can, and lives until its standard
// input ends: journald must find it alive to know its unit.
func roleSend() {
	conn, err := net.Dial("unixgram", "/run/systemd/journal/socket")
	if err == nil {
		_, err = io.WriteString(conn, os.Getenv(argumentEnv))
	}
	sent(err)
}

// roleSendHuge sends a message of 10 MiB, half of it no UTF-8.
func roleSendHuge() {
	const half = 5 << 20
	sent(sdjournal.Send(strings.Repeat("x", half)+strings.Repeat("\xff", half), sdjournal.PriInfo, nil))
}

func sent(err error) {
	fmt.Println("sent", err)
	io.Copy(io.Discard, os.Stdin)
}

// roleReadUser and roleReadSystem run a query, given in JSON, and print what comes: an
// entry in JSON on each line, and the code, message and hint of an error.
func roleReadUser()   { roleRead(User) }
func roleReadSystem() { roleRead(System) }

func roleRead(scope Scope) {
	var q Query
	if err := json.Unmarshal([]byte(os.Getenv(argumentEnv)), &q); err != nil {
		panic(err)
	}
	for e, err := range New(scope).Read(context.Background(), q) {
		if err == nil {
			json.NewEncoder(os.Stdout).Encode(e)
			continue
		}
		var known *tenant.Error
		if errors.As(err, &known) {
			fmt.Printf("%s: %s; %s\n", known.Code, known.Msg, known.Hint)
		} else {
			fmt.Println(err)
		}
		os.Exit(1)
	}
}
