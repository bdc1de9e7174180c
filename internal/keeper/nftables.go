package keeper

import (
	"maps"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// The table, as `nft list table inet tenement` shows it (nft(8)):
//
//	table inet tenement {
//		set ports { type inet_service; }
//		set owners { type uid . inet_service; }
//		set closed { type inet_service; }
//		chain connect {
//			meta skuid 0 return
//			meta skuid . tcp dport @owners return
//			reject with tcp reset
//		}
//		chain output {
//			type filter hook output priority filter; policy accept;
//			meta l4proto tcp tcp flags & (syn | ack) == syn oifname "lo" meta skuid FIRST-LAST tcp dport @closed reject with tcp reset
//			meta l4proto tcp tcp flags & (syn | ack) == syn oifname "lo" tcp dport @ports goto connect
//			meta l4proto tcp tcp flags & (syn | ack) == syn | ack oifname != "lo" meta skuid FIRST-LAST drop
//		}
//		chain input {
//			type filter hook input priority filter; policy accept;
//			meta l4proto tcp tcp flags & (syn | ack) == syn iifname != "lo" tcp dport @ports reject with tcp reset
//		}
//	}
//
// What goes to an address of this machine goes through "lo", whichever address it is. To
// look at the first packet of a connection is enough, and costs the others nothing; and
// replies to a port that the kernel has given to a client pass. Who has no user, such as
// a socket of the kernel's own, is refused. The first rule of "output" closes ports to
// instances alone; the last closes what instances listen on beside their ports to the
// outside: they cannot answer.
const (
	setPorts  = "ports"
	setOwners = "owners"
	setClosed = "closed"
)

// elementsPerMessage keeps a message's list of elements below the 64 KB that a netlink
// attribute can have.
const elementsPerMessage = 1000

// Offsets in a TCP header, and flags (RFC 9293, 3.1).
const (
	tcpDestination = 2
	tcpFlags       = 13
	flagSYN        = 0x02
	flagACK        = 0x10
)

// Registers: a set of pairs wants its key in two that follow each other.
const (
	reg  = unix.NFT_REG32_00
	reg2 = unix.NFT_REG32_01
)

// objects are the table and its sets that change.
func objects(name string) (table *nftables.Table, ports, owners *nftables.Set) {
	table = &nftables.Table{Name: name, Family: nftables.TableFamilyINet}
	ports = &nftables.Set{Table: table, Name: setPorts, KeyType: nftables.TypeInetService}
	owners = &nftables.Set{
		Table: table, Name: setOwners, Concatenation: true,
		KeyType: nftables.MustConcatSetType(nftables.TypeUID, nftables.TypeInetService),
	}
	return table, ports, owners
}

// elements are what the sets hold for the given ports by uid.
func elements(byUID map[int]int) (ports, owners []nftables.SetElement) {
	for _, uid := range slices.Sorted(maps.Keys(byUID)) {
		if byUID[uid] == 0 {
			continue
		}
		port := binaryutil.BigEndian.PutUint16(uint16(byUID[uid]))
		pair := append(binaryutil.NativeEndian.PutUint32(uint32(uid)), port...)
		ports = append(ports, nftables.SetElement{Key: port})
		owners = append(owners, nftables.SetElement{Key: append(pair, 0, 0)})
	}
	return ports, owners
}

// bytesPerPort is more than a port takes in a batch of messages.
const bytesPerPort = 256

// installTable makes the table, in place of one that is there, at once or not at all.
func installTable(name string, byUID map[int]int, closed []int) error {
	// The batch is one message to the socket.
	room := nftables.WithSockOptions(func(c *netlink.Conn) error { return c.SetWriteBuffer(1<<18 + bytesPerPort*len(byUID)) })
	conn, err := nftables.New(room)
	if err != nil {
		return err
	}
	table, ports, owners := objects(name)
	conn.AddTable(table) // so that there is one to remove
	conn.DelTable(table)
	conn.AddTable(table)
	portElements, ownerElements := elements(byUID)
	shut := &nftables.Set{Table: table, Name: setClosed, KeyType: nftables.TypeInetService}
	var shutElements []nftables.SetElement
	for _, port := range closed {
		shutElements = append(shutElements, nftables.SetElement{Key: binaryutil.BigEndian.PutUint16(uint16(port))})
	}
	for set, list := range map[*nftables.Set][]nftables.SetElement{ports: portElements, owners: ownerElements, shut: shutElements} {
		if err := conn.AddSet(set, nil); err != nil {
			return err
		}
		for chunk := range slices.Chunk(list, elementsPerMessage) {
			if err := conn.SetAddElements(set, chunk); err != nil {
				return err
			}
		}
	}
	chain := func(name string, hook *nftables.ChainHook) *nftables.Chain {
		c := &nftables.Chain{Table: table, Name: name}
		if hook != nil {
			c.Type, c.Hooknum, c.Priority = nftables.ChainTypeFilter, hook, nftables.ChainPriorityFilter
		}
		return conn.AddChain(c)
	}
	rule := func(c *nftables.Chain, parts ...[]expr.Any) {
		conn.AddRule(&nftables.Rule{Table: table, Chain: c, Exprs: slices.Concat(parts...)})
	}
	connect := chain("connect", nil)
	rule(connect, socketUser(), is(binaryutil.NativeEndian.PutUint32(0)), verdict(expr.VerdictReturn, ""))
	rule(connect, socketUser(), destination(reg2), in(owners), verdict(expr.VerdictReturn, ""))
	rule(connect, reset())
	output := chain("output", nftables.ChainHookOutput)
	rule(output, opening(flagSYN), throughLoopback(expr.MetaKeyOIFNAME, expr.CmpOpEq), instanceUser(), destination(reg), in(shut), reset())
	rule(output, opening(flagSYN), throughLoopback(expr.MetaKeyOIFNAME, expr.CmpOpEq), destination(reg), in(ports), verdict(expr.VerdictGoto, "connect"))
	rule(output, opening(flagSYN|flagACK), throughLoopback(expr.MetaKeyOIFNAME, expr.CmpOpNeq), instanceUser(), verdict(expr.VerdictDrop, ""))
	input := chain("input", nftables.ChainHookInput)
	rule(input, opening(flagSYN), throughLoopback(expr.MetaKeyIIFNAME, expr.CmpOpNeq), destination(reg), in(ports), reset())
	return conn.Flush()
}

// changeTable takes ports away and gives others, in one step.
func changeTable(name string, gone, come map[int]int) error {
	conn, err := nftables.New()
	if err != nil {
		return err
	}
	_, ports, owners := objects(name)
	for _, change := range []struct {
		apply func(*nftables.Set, []nftables.SetElement) error
		byUID map[int]int
	}{{conn.SetDeleteElements, gone}, {conn.SetAddElements, come}} {
		portElements, ownerElements := elements(change.byUID)
		if len(portElements) == 0 {
			continue
		}
		if err := change.apply(ports, portElements); err != nil {
			return err
		}
		if err := change.apply(owners, ownerElements); err != nil {
			return err
		}
	}
	return conn.Flush()
}

func hasTable(name string) (bool, error) {
	conn, err := nftables.New()
	if err != nil {
		return false, err
	}
	list, err := conn.ListTablesOfFamily(nftables.TableFamilyINet)
	return slices.ContainsFunc(list, func(t *nftables.Table) bool { return t.Name == name }), err
}

func removeTable(name string) error {
	conn, err := nftables.New()
	if err != nil {
		return err
	}
	table, _, _ := objects(name)
	conn.AddTable(table) // it may be gone already
	conn.DelTable(table)
	return conn.Flush()
}

// opening matches TCP packets of which SYN and ACK have these flags.
func opening(flags byte) []expr.Any {
	return slices.Concat(
		[]expr.Any{&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: reg}}, is([]byte{unix.IPPROTO_TCP}),
		[]expr.Any{
			&expr.Payload{DestRegister: reg, Base: expr.PayloadBaseTransportHeader, Offset: tcpFlags, Len: 1},
			&expr.Bitwise{SourceRegister: reg, DestRegister: reg, Len: 1, Mask: []byte{flagSYN | flagACK}, Xor: []byte{0}},
		}, is([]byte{flags}))
}

// throughLoopback matches packets by the name of an interface.
func throughLoopback(key expr.MetaKey, op expr.CmpOp) []expr.Any {
	name := make([]byte, unix.IFNAMSIZ)
	copy(name, "lo")
	return []expr.Any{&expr.Meta{Key: key, Register: 1}, &expr.Cmp{Op: op, Register: 1, Data: name}}
}

func socketUser() []expr.Any { return []expr.Any{&expr.Meta{Key: expr.MetaKeySKUID, Register: reg}} }

// instanceUser matches packets from the sockets of instances, the probe among them.
func instanceUser() []expr.Any {
	return append(socketUser(),
		&expr.Byteorder{SourceRegister: reg, DestRegister: reg, Op: expr.ByteorderHton, Len: 4, Size: 4},
		&expr.Range{Op: expr.CmpOpEq, Register: reg, FromData: binaryutil.BigEndian.PutUint32(FirstUID), ToData: binaryutil.BigEndian.PutUint32(probeUID)})
}

func destination(register uint32) []expr.Any {
	return []expr.Any{&expr.Payload{DestRegister: register, Base: expr.PayloadBaseTransportHeader, Offset: tcpDestination, Len: 2}}
}

func is(data []byte) []expr.Any {
	return []expr.Any{&expr.Cmp{Op: expr.CmpOpEq, Register: reg, Data: data}}
}

func in(set *nftables.Set) []expr.Any {
	return []expr.Any{&expr.Lookup{SourceRegister: reg, SetName: set.Name, SetID: set.ID}}
}

func verdict(kind expr.VerdictKind, chain string) []expr.Any {
	return []expr.Any{&expr.Verdict{Kind: kind, Chain: chain}}
}

// reset answers as a port does that nobody listens on.
func reset() []expr.Any { return []expr.Any{&expr.Reject{Type: unix.NFT_REJECT_TCP_RST}} }
