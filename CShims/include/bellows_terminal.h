// The terminal for a full-screen display: taken once, given back on every way out that a process can notice: return,
// exit, a signal that ends it, a fault of its own.
#ifndef BELLOWS_TERMINAL_H
#define BELLOWS_TERMINAL_H

#include <stdbool.h>

// Takes the terminal of stdin and stdout: alternate screen, no cursor, keys one by one and without echo. Signals that
// would end or resize are held back for bellows_terminal_wait. False: they are no terminal.
bool bellows_terminal_enter(void);
// Gives it back as it was. May be called at any time, also twice.
void bellows_terminal_leave(void);
// Waits up to `milliseconds` for a key or a signal: a byte, or -1 when the time is over, or -2 minus the signal.
int bellows_terminal_wait(int milliseconds);
// Columns and rows; 80 and 24 where they are not known.
void bellows_terminal_size(int *columns, int *rows);
// Stops this process as its shell expects it (Ctrl-Z), with the terminal given back meanwhile.
void bellows_terminal_suspend(void);

#endif
