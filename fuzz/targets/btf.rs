//! The reader of the kernel's type information: any bytes are refused or answer questions.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sekhmet_helper::kernel::btf;

fuzz_target!(|bytes: &[u8]| {
    let Ok(types) = btf::parse(bytes) else { return };
    for structure in ["task_struct", "sock", "a", ""] {
        let _size = types.size(structure);
        for path in ["tgid", "__sk_common.skc_family", "a.b.c.d", ""] {
            let _offset = types.offset(structure, path);
        }
        let _parameters = types.parameters(structure);
    }
});
