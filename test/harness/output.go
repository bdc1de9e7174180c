package harness

import (
	"bytes"
	"sync"
)

// Output collects what a program prints.
type Output struct {
	mu    sync.Mutex
	text  bytes.Buffer
	watch map[string]chan struct{}
}

func (o *Output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	before := o.text.Len()
	o.text.Write(p)
	for word, ch := range o.watch {
		// A word may come in two writes.
		if bytes.Contains(o.text.Bytes()[max(0, before-len(word)+1):], []byte(word)) {
			close(ch)
			delete(o.watch, word)
		}
	}
	return len(p), nil
}

// Watch gives a channel that is closed when word is written next.
func (o *Output) Watch(word string) <-chan struct{} {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.watch == nil {
		o.watch = map[string]chan struct{}{}
	}
	ch := make(chan struct{})
	o.watch[word] = ch
	return ch
}

func (o *Output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}
