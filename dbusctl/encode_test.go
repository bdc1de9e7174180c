package dbusctl

import (
	"bytes"
	"encoding/binary"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"reflect"
	"regexp"
	"testing"

	"github.com/godbus/dbus/v5"

	"tenement.dev/units"
)

// TestSignatures holds the structures of package units against the signatures that
// their comments promise.
func TestSignatures(t *testing.T) {
	values := map[string]any{
		"Exec":                []units.Exec{{}},
		"Listen":              []units.Listen{{}},
		"BindPath":            []units.BindPath{{}},
		"TemporaryFileSystem": []units.TemporaryFileSystem{{}},
		"Filter":              units.Filter{},
		"ExitStatusSet":       units.ExitStatusSet{},
	}
	file, err := parser.ParseFile(token.NewFileSet(), "../units/unit.go", nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	promise := regexp.MustCompile(`signature\s+(a?\([a-z()]+\))`)
	checked := 0
	for _, decl := range file.Decls {
		gen, ok := decl.(*ast.GenDecl)
		if !ok || gen.Tok != token.TYPE {
			continue
		}
		found := promise.FindStringSubmatch(gen.Doc.Text())
		if found == nil {
			continue
		}
		spec, ok := gen.Specs[0].(*ast.TypeSpec)
		if !ok {
			t.Fatalf("a type declaration of %T", gen.Specs[0])
		}
		name := spec.Name.Name
		value, ok := values[name]
		if !ok {
			t.Errorf("units.%s is not tested here", name)
			continue
		}
		v, err := variant(value)
		if err != nil {
			t.Errorf("variant(%T): %v", value, err)
			continue
		}
		if got, want := v.Signature().String(), found[1]; got != want {
			t.Errorf("units.%s has the signature %s, want %s", name, got, want)
		}
		checked++
	}
	if checked != len(values) {
		t.Errorf("found the comments of %d types, want %d", checked, len(values))
	}
}

// TestPlainSignatures holds the plain types against the comment of units.Property.
func TestPlainSignatures(t *testing.T) {
	for want, value := range map[string]any{
		"s": "", "as": []string{}, "t": uint64(0), "u": uint32(0), "i": int32(0), "b": false, "ay": []byte{},
		"aay": [][]byte{}, "(iiqq)": struct {
			A, B int32
			C, D uint16
		}{},
	} {
		v, err := variant(value)
		if err != nil {
			t.Errorf("variant(%T): %v", value, err)
		} else if got := v.Signature().String(); got != want {
			t.Errorf("a %T has the signature %s, want %s", value, got, want)
		}
	}
	if got, want := dbus.SignatureOf([]property{}, []auxUnit{}).String(), "a(sv)a(sa(sv))"; got != want {
		t.Errorf("StartTransientUnit's lists have the signature %s, want %s", got, want)
	}
}

// TestEncode sends the structures through the wire format and back.
func TestEncode(t *testing.T) {
	list, err := properties(units.Unit{Properties: []units.Property{
		{Name: "ExecStartEx", Value: []units.Exec{{Path: "/bin/a", Argv: []string{"a", "$b"}, Options: []string{"no-env-expand"}}}},
		{Name: "Listen", Value: []units.Listen{{Type: "Stream", Address: "/run/x.sock"}}},
		{Name: "BindPaths", Value: []units.BindPath{{Source: "/a", Destination: "/b", IgnoreMissing: true, Flags: 16384}}},
		{Name: "TemporaryFileSystem", Value: []units.TemporaryFileSystem{{Path: "/c", Options: "ro"}}},
		{Name: "SystemCallFilter", Value: units.Filter{Allow: true, Names: []string{"@system-service"}}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	message := &dbus.Message{
		Type: dbus.TypeSignal,
		Headers: map[dbus.HeaderField]dbus.Variant{
			dbus.FieldPath:      dbus.MakeVariant(dbus.ObjectPath("/")),
			dbus.FieldInterface: dbus.MakeVariant("a.b"),
			dbus.FieldMember:    dbus.MakeVariant("c"),
			dbus.FieldSignature: dbus.MakeVariant(dbus.SignatureOf(list)),
		},
		Body: []any{list},
	}
	var wire bytes.Buffer
	if err := message.EncodeTo(&wire, binary.LittleEndian); err != nil {
		t.Fatal(err)
	}
	back, err := dbus.DecodeMessage(&wire)
	if err != nil {
		t.Fatal(err)
	}
	want := []any{[][]any{
		{"ExecStartEx", dbus.MakeVariantWithSignature([][]any{{"/bin/a", []string{"a", "$b"}, []string{"no-env-expand"}}}, dbus.ParseSignatureMust("a(sasas)"))},
		{"Listen", dbus.MakeVariantWithSignature([][]any{{"Stream", "/run/x.sock"}}, dbus.ParseSignatureMust("a(ss)"))},
		{"BindPaths", dbus.MakeVariantWithSignature([][]any{{"/a", "/b", true, uint64(16384)}}, dbus.ParseSignatureMust("a(ssbt)"))},
		{"TemporaryFileSystem", dbus.MakeVariantWithSignature([][]any{{"/c", "ro"}}, dbus.ParseSignatureMust("a(ss)"))},
		{"SystemCallFilter", dbus.MakeVariantWithSignature([]any{true, []string{"@system-service"}}, dbus.ParseSignatureMust("(bas)"))},
	}}
	if !reflect.DeepEqual(back.Body, want) {
		t.Errorf("got  %v\nwant %v", back.Body, want)
	}
}

func TestVariantOfNothing(t *testing.T) {
	var bad *valueError
	for _, value := range []any{nil, make(chan int), func() {}, struct{ C chan int }{}, complex(1, 2)} {
		if _, err := variant(value); !errors.As(err, &bad) {
			t.Errorf("variant(%T) gave %v, want an error", value, err)
		}
	}
}
