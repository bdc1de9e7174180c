package config

import (
	"fmt"
	"strconv"
	"strings"

	"tenement.dev/internal/tenant"
)

// count takes a limit's value as an integer.
func count(into *tenant.Limits, limit tenant.Limit) reader { return scaled(into, limit, 1) }

// megabytes takes an integer of MiB for a limit of bytes.
func megabytes(into *tenant.Limits, limit tenant.Limit) reader { return scaled(into, limit, 1<<20) }

func scaled(into *tenant.Limits, limit tenant.Limit, unit int64) reader {
	lowest, highest := limit.Range()
	return func(v any) *problem {
		var n int64
		if p := number(&n, lowest/unit, highest/unit)(v); p != nil {
			return p
		}
		setLimit(into, limit, n*unit)
		return nil
	}
}

// percent takes an integer, or a string such as "150%".
func percent(into *tenant.Limits, limit tenant.Limit) reader {
	lowest, highest := limit.Range()
	return func(v any) *problem {
		if s, ok := v.(string); ok {
			digits, _ := strings.CutSuffix(s, "%")
			n, err := strconv.ParseInt(digits, 10, 64)
			if err != nil {
				return &problem{
					msg:  fmt.Sprintf("%q is not a percentage", s),
					hint: `write percent of one CPU, such as 50 or "150%"`,
				}
			}
			v = n
		}
		n, ok := v.(int64)
		if !ok {
			return mismatch(`percent of one CPU, such as 50 or "150%"`, v)
		}
		if p := number(&n, lowest, highest)(n); p != nil {
			return p
		}
		setLimit(into, limit, n)
		return nil
	}
}

func setLimit(into *tenant.Limits, limit tenant.Limit, v int64) {
	if *into == nil {
		*into = tenant.Limits{}
	}
	(*into)[limit] = v
}
