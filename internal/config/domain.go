package config

import (
	"fmt"
	"slices"
	"strings"

	"tenement.dev/internal/tenant"
)

// CheckDomains makes base domains what Settings.Domains has. The error is a
// *tenant.Error with CodeInvalid.
func CheckDomains(list []string) ([]string, error) {
	found, p := parseDomains(list)
	if p != nil {
		return nil, &tenant.Error{Code: tenant.CodeInvalid, Op: "serve", Msg: p.msg, Hint: p.hint}
	}
	return found, nil
}

func parseDomains(list []string) ([]string, *problem) {
	var found []string
	for i, s := range list {
		domain := strings.TrimSuffix(strings.ToLower(strings.TrimSpace(s)), ".")
		for label := range strings.SplitSeq(domain, ".") {
			if !tenant.IsLabel(label) {
				return nil, &problem{
					msg:     fmt.Sprintf("%.80q is not a domain", s),
					hint:    "write a name such as example.com or localhost",
					element: i + 1,
				}
			}
		}
		if slices.Contains(found, domain) {
			return nil, &problem{msg: fmt.Sprintf("%q is there twice", domain), element: i + 1}
		}
		found = append(found, domain)
	}
	if len(found) == 0 {
		return nil, &problem{msg: "there is no domain in it", hint: "write a name such as example.com"}
	}
	return found, nil
}
