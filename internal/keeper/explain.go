package keeper

import (
	"bufio"
	"context"
	"net"
	"time"
)

// explainTime is how long a keeper that cannot work tells so: systemd starts the next one as soon as
// somebody waits for an answer, and would do nothing else.
const explainTime = 5 * time.Second

// Explain answers who connects to l with why there is no keeper, for a while or until ctx ends.
func Explain(ctx context.Context, l *net.UnixListener, why error) {
	ctx, cancel := context.WithTimeout(ctx, explainTime)
	defer cancel()
	// One at a time: each has little to say, and none may outlast this.
	end, _ := ctx.Deadline()
	if l.SetDeadline(end) != nil {
		return
	}
	defer context.AfterFunc(ctx, func() { _ = l.SetDeadline(time.Unix(1, 0)) })()
	for {
		conn, err := l.AcceptUnix()
		if err != nil {
			return
		}
		_ = conn.SetDeadline(time.Now().Add(explainTime / 5))
		var r request
		if err := readMessage(bufio.NewReader(conn), maxRequest, &r); err == nil || !isHangup(err) {
			_ = writeMessage(conn, reply{Fault: faultOf(why)})
		}
		conn.Close()
	}
}
