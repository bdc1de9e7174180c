package journal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"
)

// nativeSocket is where journald takes entries.
const nativeSocket = "/run/systemd/journal/socket"

const (
	// sendTimeout bounds the wait for a journald that does not take entries.
	sendTimeout = time.Second
	// maxField bounds a field's value, in bytes, so that an entry fits into a datagram.
	maxField = 4 << 10
)

// field is one field of an entry.
type field struct{ name, value string }

// sender sends entries in journald's native protocol
// (systemd.io/JOURNAL_NATIVE_PROTOCOL). It is not go-systemd's because that waits for
// ever for a journald that hangs.
type sender struct {
	path string
	conn *net.UnixConn // nil where there is none yet, or any more
}

// send sends one entry.
func (s *sender) send(fields []field) error {
	message := encode(fields)
	var err error
	for range 2 { // journald may have begun anew since the last time
		if s.conn == nil {
			if s.conn, err = net.DialUnix("unixgram", nil, &net.UnixAddr{Name: s.path, Net: "unixgram"}); err != nil {
				s.conn = nil
				return fmt.Errorf("send to the journal: %w", err)
			}
		}
		_ = s.conn.SetWriteDeadline(time.Now().Add(sendTimeout))
		if _, err = s.conn.Write(message); err == nil {
			return nil
		}
		late := errors.Is(err, os.ErrDeadlineExceeded)
		err = errors.Join(err, s.close())
		if late {
			break
		}
	}
	return fmt.Errorf("send to the journal: %w", err)
}

func (s *sender) close() error {
	if s.conn == nil {
		return nil
	}
	conn := s.conn
	s.conn = nil
	return conn.Close()
}

func encode(fields []field) []byte {
	var b bytes.Buffer
	for _, f := range fields {
		value := f.value
		if len(value) > maxField {
			value = strings.ToValidUTF8(value[:maxField], "") + "…"
		}
		b.WriteString(f.name)
		if strings.ContainsRune(value, '\n') {
			b.WriteByte('\n')
			b.Write(binary.LittleEndian.AppendUint64(nil, uint64(len(value))))
		} else {
			b.WriteByte('=')
		}
		b.WriteString(value + "\n")
	}
	return b.Bytes()
}
