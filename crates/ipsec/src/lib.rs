//! SPD and SAD, ESP seal and open, anti-replay and ESN; sans-IO.

#![forbid(unsafe_code)]
