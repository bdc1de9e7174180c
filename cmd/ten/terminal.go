package main

import (
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// screen is what is known of the terminal that w writes to; the zero screen is none.
type screen struct {
	width, height int // 0 for no bound
	colours       bool
}

// screen looks at what w writes to. Colours are for terminals whose user has not said
// otherwise (no-color.org).
func (w world) screen(out io.Writer) screen {
	f, ok := out.(*os.File)
	if !ok {
		return screen{}
	}
	if _, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS); err != nil {
		return screen{}
	}
	s := screen{colours: w.getenv("NO_COLOR") == "" && w.getenv("TERM") != "dumb"}
	if size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ); err == nil {
		s.width, s.height = int(size.Col), int(size.Row)
	}
	if n, err := strconv.Atoi(w.getenv("COLUMNS")); err == nil && n > 0 {
		s.width = n
	}
	return s
}

// The styles (ECMA-48, SGR).
const (
	bold   = "1"
	dim    = "2"
	red    = "31"
	green  = "32"
	yellow = "33"
	cyan   = "36"
)

// paint is text in a style, where the screen has any.
func (s screen) paint(style, text string) string {
	if !s.colours || style == "" {
		return text
	}
	return "\x1b[" + style + "m" + text + "\x1b[0m"
}

// styleOf is the style of a word that says how something is.
func styleOf(cell string) string {
	state, health, _ := strings.Cut(cell, ",")
	switch {
	case health == "degraded" || state == "degraded" || state == "waking" || state == "stopping":
		return yellow
	case health == "unhealthy", state == "failed", state == "unhealthy", state == "no":
		return red
	case state == "awake", state == "healthy", state == "ok":
		return green
	case state == "dozing":
		return cyan
	case state == "asleep":
		return dim
	}
	return ""
}

// narrowest is what a column is not cut below, in characters.
const narrowest = 8

// table prints cells in columns, the first row being the head: within the screen's width,
// by cutting the widest columns, and with colours where it has them. Lines do not end in
// spaces.
func (s screen) table(w io.Writer, rows [][]string) error {
	_, err := io.WriteString(w, s.lay(rows))
	return err
}

// lay is the text of a table.
func (s screen) lay(rows [][]string) string {
	var widths []int
	for _, row := range rows {
		for i, cell := range row {
			row[i] = oneCell(cell)
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(row[i]))
		}
	}
	for s.width > 0 && sum(widths)+2*(len(widths)-1) > s.width {
		widest := 0
		for i := range widths {
			if widths[i] > widths[widest] {
				widest = i
			}
		}
		if widths[widest] <= narrowest {
			break // too many columns: lines are longer than the screen is wide
		}
		widths[widest]--
	}
	var b strings.Builder
	for n, row := range rows {
		line, gap := "", ""
		for i, cell := range row {
			cell = cut(cell, widths[i])
			style := bold
			if n > 0 {
				style = styleOf(cell)
			}
			if cell != "" {
				line += gap + s.paint(style, cell)
				gap = ""
			}
			gap += strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell)+2)
		}
		b.WriteString(line + "\n")
	}
	return b.String()
}

func sum(list []int) (total int) {
	for _, n := range list {
		total += n
	}
	return total
}

// cut shortens text to n characters, and shows that it did.
func cut(text string, n int) string {
	if utf8.RuneCountInString(text) <= n {
		return text
	}
	return string([]rune(text)[:n-1]) + "…"
}

// printTable prints a table to standard output.
func (p *program) printTable(rows [][]string) error { return p.screen(p.out).table(p.out, rows) }

// patience is after how long a person is told what is waited for.
const patience = time.Second

// progress tells a person at a terminal, after a while and then each second, what is
// waited for. The function that it gives ends that and clears the line.
func (p *program) progress(what string) (stop func()) {
	return p.progressOf(func() string { return what })
}

// progressOf is progress of what changes; what is called at any time until stop returns.
func (p *program) progressOf(what func() string) (stop func()) {
	if s := p.screen(p.err); s == (screen{}) {
		return func() {}
	}
	begin := time.Now()
	ended, gone := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(gone)
		tick := time.NewTicker(patience)
		defer tick.Stop()
		shown := false
		for {
			select {
			case <-tick.C:
				shown = true
				p.note("\r\x1b[K%s … %ds", clean(what()), int(time.Since(begin).Seconds()))
			case <-ended:
				if shown {
					p.note("\r\x1b[K")
				}
				return
			}
		}
	}()
	return sync.OnceFunc(func() { close(ended); <-gone })
}
