//! The waist of the hourglass: SPIs, selectors, SA and policy descriptions, and the one transform table.

#![forbid(unsafe_code)]
