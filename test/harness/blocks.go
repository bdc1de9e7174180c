package harness

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Block is one fenced block of a page.
type Block struct {
	Page     string // the file's name
	Language string // the first word after the fence
	Kind     string // the words after that
	Text     string
}

// Name is the page and the block's first line.
func (b Block) Name() string {
	first, _, _ := strings.Cut(b.Text, "\n")
	return b.Page + " " + first
}

// Blocks gives the fenced blocks of a Markdown file that have a language, in order.
func Blocks(path string) (list []Block, err error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	parts := strings.Split("\n"+string(text), "\n```")
	if len(parts)%2 == 0 {
		return nil, fmt.Errorf("%s: a block has no end", path)
	}
	for i, part := range parts {
		words, body, _ := strings.Cut(part, "\n")
		if language, kind, _ := strings.Cut(strings.TrimSpace(words), " "); i%2 == 1 && language != "" {
			list = append(list, Block{filepath.Base(path), language, strings.TrimSpace(kind), body})
		}
	}
	return list, nil
}
