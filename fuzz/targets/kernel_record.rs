//! The decoder of ring records: any bytes are refused or become observations.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sekhmet_helper::kernel::decode_record;

fuzz_target!(|bytes: &[u8]| {
    let _record = decode_record(bytes);
});
