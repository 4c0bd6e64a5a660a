//! A timer wheel: whoever waits costs nothing until its time has come.
