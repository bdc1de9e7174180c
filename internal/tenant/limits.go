package tenant

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Limit names one bound on what an instance may use. The API, the registry and the
// flags of `ten limit` use these words.
type Limit string

// The limits, and the unit of each.
const (
	LimitMemory    Limit = "memory"     // bytes; as much again of swap
	LimitCPUQuota  Limit = "cpu-quota"  // percent of one CPU
	LimitCPUShares Limit = "cpu-shares" // cgroup weight, 1 to 10000, 100 without
	LimitIOWeight  Limit = "io-weight"  // cgroup weight, 1 to 10000, 100 without
	LimitTasks     Limit = "tasks"      // threads
	LimitNoFile    Limit = "nofile"     // open files of each process
	LimitStorage   Limit = "storage"    // bytes in the data directory
)

// StandardWeight is what LimitCPUShares and LimitIOWeight are where nothing is set.
const StandardWeight = 100

// limitInfo is what there is to know of a limit.
type limitInfo struct {
	limit Limit
	// key is the service's key in tenement.toml.
	key string
	// lowest and highest bound the values, in the limit's unit.
	lowest, highest int64
	// standard is what holds where nothing is set, 0 for no bound.
	standard int64
}

// limitInfos has the limits in the order in which they are shown.
var limitInfos = []limitInfo{
	{LimitMemory, "memory_limit_mb", 1 << 20, math.MaxInt64 >> 20 << 20, 0},
	{LimitCPUQuota, "cpu_quota", 1, 1_000_000, 0},
	{LimitCPUShares, "cpu_shares", 1, 10_000, StandardWeight},
	{LimitIOWeight, "io_weight", 1, 10_000, StandardWeight},
	// Fewer threads than this are not enough for ten-init and an app beside it. The
	// standard stops a fork bomb and is far above what web apps have.
	{LimitTasks, "tasks_max", 16, math.MaxInt32, 1024},
	// The proxy alone may hold 2000 connections to an app (max_in_flight), and the app
	// may want as many of its own for them.
	{LimitNoFile, "nofile", 64, 1 << 20, 8192},
	{LimitStorage, "storage_quota_mb", 1 << 20, math.MaxInt64 >> 20 << 20, 0},
}

// AllLimits lists the limits in the order in which they are shown.
func AllLimits() []Limit {
	list := make([]Limit, len(limitInfos))
	for i, info := range limitInfos {
		list[i] = info.limit
	}
	return list
}

func (l Limit) info() (limitInfo, bool) {
	i := slices.IndexFunc(limitInfos, func(info limitInfo) bool { return info.limit == l })
	if i < 0 {
		return limitInfo{}, false
	}
	return limitInfos[i], true
}

// Known reports whether there is such a limit.
func (l Limit) Known() bool {
	_, ok := l.info()
	return ok
}

// Key is the service's key for the limit in tenement.toml.
func (l Limit) Key() string {
	info, _ := l.info()
	return info.key
}

// Range gives the lowest and the highest value that can be set.
func (l Limit) Range() (lowest, highest int64) {
	info, _ := l.info()
	return info.lowest, info.highest
}

// Standard is the value that holds where nothing is set, 0 for no bound.
func (l Limit) Standard() int64 {
	info, _ := l.info()
	return info.standard
}

// Live reports whether a change takes effect while the instance runs; one that is not
// live waits for the next start.
func (l Limit) Live() bool { return l != LimitNoFile }

// weight reports whether the limit is a cgroup weight.
func (l Limit) weight() bool { return l == LimitCPUShares || l == LimitIOWeight }

func (l Limit) bytes() bool { return l == LimitMemory || l == LimitStorage }

// Format prints a value for people, as Parse takes it; 0 is "none".
func (l Limit) Format(v int64) string {
	switch {
	case v == 0:
		return "none"
	case l.bytes():
		return FormatBytes(v)
	case l == LimitCPUQuota:
		return strconv.FormatInt(v, 10) + "%"
	default:
		return strconv.FormatInt(v, 10)
	}
}

// Parse reads what people write: "512M", "50%", "200", or "none" for no bound, which
// is 0. The error is an *Error with CodeInvalid.
func (l Limit) Parse(s string) (int64, error) {
	if s == "none" {
		return 0, nil
	}
	invalid := func(example string) error {
		return &Error{
			Code: CodeInvalid, Op: "read limit",
			Msg:  fmt.Sprintf("%.40q is no value for %s", s, l),
			Hint: fmt.Sprintf("write %s, or none", example),
		}
	}
	var v int64
	var ok bool
	switch {
	case l.bytes():
		if v, ok = parseBytes(s); !ok {
			return 0, invalid("a number with a unit, such as 512M or 2G")
		}
	case l == LimitCPUQuota:
		if v, ok = parseNumber(strings.TrimSuffix(s, "%")); !ok {
			return 0, invalid("percent of one CPU, such as 50% or 200%")
		}
	default:
		if v, ok = parseNumber(s); !ok {
			return 0, invalid("a whole number")
		}
	}
	return v, l.Check(v)
}

// Check tells whether v can be set; 0, no bound, always can. The error is an *Error
// with CodeInvalid.
func (l Limit) Check(v int64) error {
	info, ok := l.info()
	if !ok {
		return &Error{
			Code: CodeInvalid, Op: "read limit",
			Msg:  fmt.Sprintf("there is no limit %.40q", string(l)),
			Hint: "there are: " + joinLimits(AllLimits()),
		}
	}
	if v == 0 || info.lowest <= v && v <= info.highest {
		return nil
	}
	return &Error{
		Code: CodeInvalid, Op: "read limit",
		Msg:  fmt.Sprintf("%s %s is out of range", l, l.Format(v)),
		Hint: fmt.Sprintf("use %s to %s, or none", l.Format(info.lowest), l.Format(info.highest)),
	}
}

func joinLimits(list []Limit) string {
	words := make([]string, len(list))
	for i, l := range list {
		words[i] = string(l)
	}
	return strings.Join(words, ", ")
}

func parseNumber(s string) (int64, bool) {
	v, err := strconv.ParseUint(s, 10, 63)
	return int64(v), err == nil && v > 0
}

// byteUnits are powers of 1024, as systemd and memory_limit_mb have them.
var byteUnits = []struct {
	letter string
	bytes  int64
}{{"T", 1 << 40}, {"G", 1 << 30}, {"M", 1 << 20}, {"K", 1 << 10}}

// parseBytes reads "512M", "1.5G" or "1048576"; "MB" and "MiB" are "M".
func parseBytes(s string) (int64, bool) {
	text := strings.TrimSuffix(strings.TrimSuffix(strings.ToUpper(strings.ReplaceAll(s, " ", "")), "B"), "I")
	for _, unit := range byteUnits {
		number, ok := strings.CutSuffix(text, unit.letter)
		if !ok {
			continue
		}
		v, err := strconv.ParseFloat(number, 64)
		if err != nil || !(v > 0) || v*float64(unit.bytes) > math.MaxInt64/2 {
			return 0, false
		}
		return int64(v * float64(unit.bytes)), true
	}
	return parseNumber(text)
}

// FormatBytes prints a number of bytes for people: "1.5G", "512M", "0".
func FormatBytes(v int64) string {
	for _, unit := range byteUnits {
		if v < unit.bytes {
			continue
		}
		number := strconv.FormatFloat(float64(v)/float64(unit.bytes), 'f', 1, 64)
		return strings.TrimSuffix(number, ".0") + unit.letter
	}
	return strconv.FormatInt(v, 10)
}

// Limits are values of limits. A limit that is missing is not set; one with the value
// 0 is set to have no bound.
type Limits map[Limit]int64

// Or gives l with what is missing in it taken from other; nil where neither has any.
func (l Limits) Or(other Limits) Limits {
	if len(l) == 0 && len(other) == 0 {
		return nil
	}
	all := make(Limits, len(l)+len(other))
	maps.Copy(all, other)
	maps.Copy(all, l)
	return all
}

// Get gives the value that holds: what is set, else the standard; 0 for no bound. A
// weight always has a value.
func (l Limits) Get(limit Limit) int64 {
	v, ok := l[limit]
	if !ok || v == 0 && limit.weight() {
		return limit.Standard()
	}
	return v
}

// Check tells whether all values can be set.
func (l Limits) Check() error {
	for _, limit := range slices.Sorted(maps.Keys(l)) {
		if err := limit.Check(l[limit]); err != nil {
			return err
		}
	}
	return nil
}

// boost is how much more of the CPU and of the disks an instance gets while it wakes.
const boost = 10

// Boosted gives the weight, of which weight is the ordinary value, that an instance has
// while it wakes.
func Boosted(weight int64) int64 {
	_, highest := LimitCPUShares.Range()
	return min(boost*weight, highest)
}

// LimitChange says how an instance's own limits change.
type LimitChange struct {
	// Set has new values, 0 for no bound.
	Set Limits
	// Reset are those for which the service's value holds again; ResetAll means all.
	Reset    []Limit
	ResetAll bool
}

// Check tells whether the change can be made.
func (c LimitChange) Check() error {
	for _, l := range c.Reset {
		if err := l.Check(0); err != nil {
			return err
		}
		if _, both := c.Set[l]; both {
			return &Error{Code: CodeInvalid, Op: "read limit", Msg: fmt.Sprintf("%s is both set and reset", l), Hint: "do one of both"}
		}
	}
	return c.Set.Check()
}

// Apply gives own with the change made.
func (c LimitChange) Apply(own Limits) Limits {
	changed := Limits{}
	if !c.ResetAll {
		maps.Copy(changed, own)
	}
	for _, l := range c.Reset {
		delete(changed, l)
	}
	maps.Copy(changed, c.Set)
	return changed
}

// LimitSource says where the value of a limit is from.
type LimitSource string

// The sources, the strongest first.
const (
	FromInstance LimitSource = "instance" // `ten limit`
	FromService  LimitSource = "service"  // tenement.toml
	FromStandard LimitSource = "default"  // the standard, or none
)

// LimitValue is one limit as it holds for an instance.
type LimitValue struct {
	Limit Limit
	// Value is 0 for no bound.
	Value int64
	From  LimitSource
	// Pending: it takes effect with the next start only.
	Pending bool
}

// LimitReport says what limits an instance has and what it uses.
type LimitReport struct {
	ID     ID
	State  State
	Limits []LimitValue
	Usage  Usage
	// StorageEnforced: the file system enforces the limit of storage; otherwise it is
	// measured.
	StorageEnforced bool
}

// Usage is what an instance uses at one moment; -1 stands for what is not known, which
// most is while it does not run.
type Usage struct {
	Memory  int64 // bytes
	Tasks   int64
	CPUTime int64 // nanoseconds since its start
	Storage int64 // bytes in its data directory
}

// UnknownUsage is that of an instance of which nothing is known.
var UnknownUsage = Usage{-1, -1, -1, -1}
