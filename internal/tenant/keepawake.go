package tenant

import (
	"errors"
	"strconv"
	"time"
)

// TakeKeepAwake reads KeepAwakeHeader of a response and removes it; ok is false where there is none. The
// error says that it is given but means nothing.
func TakeKeepAwake(h map[string][]string) (d time.Duration, ok bool, err error) {
	values, ok := h[KeepAwakeHeader]
	if !ok {
		return 0, false, nil
	}
	delete(h, KeepAwakeHeader)
	if len(values) != 1 {
		return 0, true, errors.New("given more than once")
	}
	d, err = ParseSeconds(values[0])
	return d, true, err
}

// ParseSeconds reads a duration as the configuration has them: a number of seconds or
// a text such as "1h30m". It is not negative.
func ParseSeconds(text string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if err != nil {
		var n uint64
		if n, err = strconv.ParseUint(text, 10, 64); err != nil {
			return 0, errors.New("neither seconds nor a duration")
		}
		d = time.Duration(min(n, uint64(longest/time.Second))) * time.Second
	}
	if d < 0 {
		return 0, errors.New("negative")
	}
	return d, nil
}

// longest is what ParseSeconds takes for any longer time.
const longest = 100 * 365 * 24 * time.Hour
