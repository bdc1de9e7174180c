package machine

import (
	"path/filepath"
	"slices"
	"strings"
)

// outputFlags are the test flags that name a file or directory to write.
var outputFlags = []string{
	"test.coverprofile", "test.gocoverdir", "test.cpuprofile", "test.memprofile", "test.blockprofile", "test.mutexprofile",
	"test.trace", "test.outputdir", "test.fuzzcachedir",
}

// insideFlags turns a test binary's arguments on the host, run in dir, into those for the machine, and lists the directories
// that have to be writable there. Paths are made absolute. -test.testlogfile is left out: with it the go command would
// cache a result that depends on more (bin, the machine) than it knows of.
func insideFlags(args []string, dir string) (inside, writable []string) {
	out := dir
	values := map[int]string{} // index of an argument that is an output path -> flag name
	for i := 0; i < len(args); i++ {
		arg := args[i]
		if arg == "--" || arg == "-args" || arg == "--args" || !strings.HasPrefix(arg, "-") {
			inside = append(inside, args[i:]...)
			break
		}
		name, value, hasValue := strings.Cut(strings.TrimLeft(arg, "-"), "=")
		takesPath := name == "test.testlogfile" || slices.Contains(outputFlags, name)
		if takesPath && !hasValue && i+1 < len(args) {
			i++
			value = args[i]
		}
		switch {
		case name == "test.testlogfile":
		case takesPath && value != "":
			if name == "test.outputdir" {
				if !filepath.IsAbs(value) {
					value = filepath.Join(dir, value)
				}
				out = value
			}
			values[len(inside)] = name
			inside = append(inside, value)
		default:
			inside = append(inside, arg)
		}
	}
	for i, name := range values {
		value := inside[i]
		if !filepath.IsAbs(value) {
			value = filepath.Join(out, value)
		}
		inside[i] = "-" + name + "=" + value
		d := filepath.Dir(value)
		if name == "test.gocoverdir" || name == "test.outputdir" || name == "test.fuzzcachedir" {
			d = value
		}
		if !slices.Contains(writable, d) {
			writable = append(writable, d)
		}
	}
	slices.Sort(writable)
	return inside, writable
}

// within reports whether path is dir or below it.
func within(path, dir string) bool {
	return path == dir || strings.HasPrefix(path, strings.TrimSuffix(dir, "/")+"/")
}
