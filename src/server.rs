//! Starts and stops both planes.
