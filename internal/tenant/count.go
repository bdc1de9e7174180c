package tenant

import "fmt"

// Count is a number of things: "1 instance", "2 instances". Of one, one is said, else many.
func Count[N ~int | ~int64](n N, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
