package simulate

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// hours are those of a day.
const hours = 24

// visit is some requests of one visitor, an hour's part after each other.
type visit struct {
	at     float64 // hour of the day
	tenant int
	gaps   []float64 // hours from the visit's beginning to each request
}

// trace makes a day's visits, in order. It is the same for the same arguments.
func trace(seed uint64, tenants, visits int) []visit {
	r := rand.New(rand.NewPCG(seed, 1))
	// Zipf: the tenant of rank k has 1/k^0.9 of the first one's visits. Of 1,000 a tenth has
	// most of them, and half have one or two, or none.
	sums := make([]float64, tenants)
	sum := 0.0
	for k := range sums {
		sum += math.Pow(float64(k+1), -0.9)
		sums[k] = sum
	}
	list := make([]visit, visits)
	for i := range list {
		v := visit{tenant: sort(sums, r.Float64()*sum)}
		for v.at = r.Float64() * hours; r.Float64() > busy(v.at); {
			v.at = r.Float64() * hours
		}
		// Geometric, five requests on average; half a minute between them, exponential.
		at := 0.0
		for v.gaps = []float64{0}; r.Float64() < 0.8; {
			at += r.ExpFloat64() / 120
			v.gaps = append(v.gaps, at)
		}
		list[i] = v
	}
	slices.SortFunc(list, func(a, b visit) int {
		if a.at < b.at {
			return -1
		}
		return 1
	})
	return list
}

func sort(sums []float64, x float64) int {
	at, _ := slices.BinarySearch(sums, x)
	return min(at, len(sums)-1)
}

// busy is how much of the busiest hour's visits an hour has: least at four in the night, most
// at four in the afternoon.
func busy(hour float64) float64 {
	return 0.1 + 0.9*(1+math.Cos((hour-16)/hours*2*math.Pi))/2
}

func TestTrace(t *testing.T) {
	day := trace(7, 1000, 2000)
	perHour, perTenant, requests := make([]int, hours), make([]int, 1000), 0
	for _, v := range day {
		perHour[int(v.at)]++
		perTenant[v.tenant]++
		requests += len(v.gaps)
	}
	slices.Sort(perTenant)
	tenth := 0
	for _, n := range perTenant[900:] {
		tenth += n
	}
	if perHour[15] < 3*perHour[3] {
		t.Errorf("visits by hour: got %v, want a night", perHour)
	}
	if tenth < 1000 || perTenant[300] > 2 {
		t.Errorf("visits of the busiest tenth: got %d of 2000; the 300th has %d", tenth, perTenant[300])
	}
	if requests < 8000 || requests > 12000 {
		t.Errorf("got %d requests, want about five a visit", requests)
	}
}
