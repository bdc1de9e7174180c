// Command report passes on what a benchmark prints, and puts the sections in it into a file:
//
//	go test -v ./test/bench/scale | go run ./test/bench/report docs/PERFORMANCE.md
//
// A section is what stands between the lines "<!-- begin NAME -->" and "<!-- end NAME -->".
// It takes the place of the one of that name, or comes last where there is none; all else
// in the file stays as it is. A section whose name ends in .svg is a file of its own, of
// that name beside the file. The exit status is 1 where there was no section: the
// benchmark has failed.
package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: report FILE")
		os.Exit(2)
	}
	if err := run(os.Stdin, os.Stdout, os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "report:", err)
		os.Exit(1)
	}
}

func run(in io.Reader, out io.Writer, path string) error {
	sections, err := find(io.TeeReader(in, out))
	if err != nil {
		return err
	}
	if len(sections) == 0 {
		return errors.New("there was nothing to write into " + path)
	}
	old, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	text := string(old)
	for _, s := range sections {
		if !strings.HasSuffix(s.name, ".svg") {
			text = s.into(text)
			continue
		}
		if !filepath.IsLocal(s.name) {
			return fmt.Errorf("%s is not beside %s", s.name, path)
		}
		own := filepath.Join(filepath.Dir(path), s.name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(own), 0o755), os.WriteFile(own, []byte(s.text), 0o644)); err != nil {
			return err
		}
	}
	return os.WriteFile(path, []byte(text), 0o644)
}

// section is a part of the file, with its marks.
type section struct{ name, text string }

func (s section) begin() string { return "<!-- begin " + s.name + " -->\n" }
func (s section) end() string   { return "<!-- end " + s.name + " -->\n" }

// find gives the sections of a text.
func find(in io.Reader) (list []section, err error) {
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 1<<20)
	var open *section
	for lines.Scan() {
		line := lines.Text() + "\n"
		if open == nil {
			if name, ok := strings.CutPrefix(line, "<!-- begin "); ok && strings.HasSuffix(name, " -->\n") {
				open = &section{name: strings.TrimSuffix(name, " -->\n")}
			}
			continue
		}
		if line == open.end() {
			list, open = append(list, *open), nil
			continue
		}
		open.text += line
	}
	if open != nil {
		return nil, errors.New("section " + open.name + " does not end")
	}
	return list, lines.Err()
}

// into gives the text with the section in it.
func (s section) into(text string) string {
	before, rest, begun := strings.Cut(text, s.begin())
	_, after, ended := strings.Cut(rest, s.end())
	if !begun || !ended {
		before, after = text, ""
		if before != "" {
			before = strings.TrimRight(before, "\n") + "\n\n"
		}
	}
	return before + s.begin() + s.text + s.end() + after
}
