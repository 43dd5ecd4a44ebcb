//! Plan to running process: parent, child, sync, gate.
