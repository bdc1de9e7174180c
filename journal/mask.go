package journal

import (
	"encoding/json"
	"fmt"
	"strings"

	"tenement.dev/internal/event"
	"tenement.dev/internal/tenant"
)

// mask hides from an event what is no tenant's business, as the API's stream does: who else
// works on its instances, and whose requests they have got. It reports whether it could.
func (e *Entry) mask(viewer tenant.Actor) bool {
	var whole map[string]any
	decoder := json.NewDecoder(strings.NewReader(e.Event))
	decoder.UseNumber()
	if decoder.Decode(&whole) != nil {
		return false
	}
	kind, _ := whole["kind"].(string)
	by, _ := whole["actor"].(string)
	instance, _ := whole["instance"].(string)
	suffix := ""
	if by != "" {
		suffix = ", by " + oneLine(by)
	}
	if by != "" && by != string(viewer) {
		delete(whole, "actor")
		var ok bool
		if kind == string(event.Audit) {
			var rest string
			rest, ok = strings.CutPrefix(e.Message, oneLine(by))
			e.Message = "somebody" + rest
		} else {
			e.Message, ok = strings.CutSuffix(e.Message, suffix)
			suffix = ""
		}
		if !ok {
			return false
		}
	}
	if fields, _ := whole["fields"].(map[string]any); kind == string(event.Routed) {
		delete(fields, "from")
		e.Message = fmt.Sprintf("%s gets requests, with weight %v", instance, fields["weight"]) + suffix
	}
	text, err := json.Marshal(whole)
	e.Event = string(text)
	return err == nil
}
