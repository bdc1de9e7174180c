package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// command is a program that is run in this directory, the repository's root.
func command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stderr = os.Stderr
	return cmd
}

// goCommand is the go command, for an architecture.
func goCommand(ctx context.Context, arch string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+arch)
	return cmd
}

// versionOf gives the version of the packages, and the time that all in them has.
// SOURCE_DATE_EPOCH comes before the commit's.
func versionOf(ctx context.Context, given string) (string, time.Time, error) {
	when := os.Getenv("SOURCE_DATE_EPOCH")
	if when == "" {
		out, err := command(ctx, "git", "log", "-1", "--format=%ct").Output()
		if err != nil {
			return "", time.Time{}, fmt.Errorf("ask git for the time of the commit, since there is no SOURCE_DATE_EPOCH: %w", err)
		}
		when = strings.TrimSpace(string(out))
	}
	seconds, err := strconv.ParseInt(when, 10, 64)
	if err != nil {
		return "", time.Time{}, fmt.Errorf("read the time of the source, %q: %w", when, err)
	}
	if given == "" {
		// Without a tag it is the commit's name alone: then all commits count.
		text, err := command(ctx, "git", "describe", "--tags", "--match", "v[0-9]*", "--long", "--always", "--abbrev=12", "--dirty").Output()
		if err != nil {
			return "", time.Time{}, fmt.Errorf("ask git for the version: %w", err)
		}
		count, err := command(ctx, "git", "rev-list", "--count", "HEAD").Output()
		if err != nil {
			return "", time.Time{}, fmt.Errorf("ask git for the version: %w", err)
		}
		given = packageVersion(strings.TrimSpace(string(text)), strings.TrimSpace(string(count)))
	}
	if !wellFormed.MatchString(given) {
		return "", time.Time{}, fmt.Errorf("%q is no version of a package: it begins with a digit, and has letters, digits, . + and ~", given)
	}
	return given, time.Unix(seconds, 0).UTC(), nil
}

// wellFormed is what dpkg and rpm both take for a version without a revision (deb-version(7)).
var wellFormed = regexp.MustCompile(`^[0-9][0-9A-Za-z.+~]*$`)

// described is what git describe says where there is a tag.
var described = regexp.MustCompile(`^v([0-9][0-9.]*)(?:-(.+))?-([0-9]+)-g([0-9a-f]+)(-dirty)?$`)

// packageVersion makes a version that dpkg and rpm sort of what `git describe --long` says:
// "v1.2.3-0-gABC" is 1.2.3, five commits later it is 1.2.3+5.gABC, and the tag v1.2.3-rc1 is
// 1.2.3~rc1, which comes before 1.2.3. Without a tag it is 0.0.0 and the number of commits.
func packageVersion(text, commits string) string {
	m := described.FindStringSubmatch(text)
	if m == nil {
		hash, dirty := strings.CutSuffix(text, "-dirty")
		m = []string{"", "0.0.0", "", commits, hash, ""}
		if dirty {
			m[5] = "-dirty"
		}
	}
	v := m[1]
	if m[2] != "" {
		v += "~" + strings.ReplaceAll(m[2], "-", ".")
	}
	if m[3] != "0" || m[5] != "" {
		v += "+" + m[3] + ".g" + m[4]
	}
	if m[5] != "" {
		v += ".dirty"
	}
	return v
}
