// Package pressure reads from the kernel how hard-pressed a machine is: whether its
// memory is short, and what share of its processors' time nobody uses.
//
// Memory is short when little of it is available, or when work is held up for want of
// it (PSI: Documentation/accounting/psi.rst of Linux) while it is not plentiful. Stalls
// alone say nothing: a tenant that thrashes within its own limit stalls too, and that
// must not stop its neighbours. The kernel says by itself when there are stalls, by a
// trigger on the pressure file; nothing polls for it.
//
// What the kernel does not have (PSI may be left out, or off) is never short.
package pressure
