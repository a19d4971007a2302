//! A small hand-made type table with every trap in it, its broken variants, and the running kernel's own.

use super::*;

/// `struct outer { int a; union { struct { int b; inner_t c; }; int d; }; int bits:3; }`,
/// `struct inner { int x; int y; }`, `void f(int, int)`.
fn sample() -> Vec<u8> {
    let mut names = vec![0u8];
    let mut name = |text: &str| {
        let at = names.len() as u32;
        names.extend_from_slice(text.as_bytes());
        names.push(0);
        at
    };
    let info = |kind: u32, count: u32| kind << 24 | count;
    let mut types: Vec<u32> = Vec::new();
    types.extend([name("int"), info(1, 0), 4, 32]); // 1
    types.extend([name("inner"), info(4, 2), 8, name("x"), 1, 0, name("y"), 1, 32]); // 2
    types.extend([name("inner_t"), info(8, 0), 2]); // 3
    types.extend([0, info(4, 2), 12, name("b"), 1, 0, name("c"), 3, 32]); // 4
    types.extend([0, info(5, 2), 12, 0, 4, 0, name("d"), 1, 0]); // 5
    types.extend([name("outer"), info(4, 3) | 1 << 31, 20]); // 6
    types.extend([name("a"), 1, 0, 0, 5, 32, name("bits"), 1, 3 << 24 | 129]);
    types.extend([0, info(13, 2), 0, 0, 1, 0, 1]); // 7
    types.extend([name("f"), info(12, 0), 7]); // 8
    let body: Vec<u8> = types.iter().flat_map(|w| w.to_ne_bytes()).collect();
    let mut out = MAGIC.to_ne_bytes().to_vec();
    out.extend([1, 0]);
    for field in [24, 0, body.len() as u32, body.len() as u32, names.len() as u32] {
        out.extend(field.to_ne_bytes());
    }
    out.extend(body);
    out.extend(names);
    out
}

#[test]
fn finds_fields_through_unnamed_members_and_typedefs() {
    let bytes = sample();
    let btf = parse(&bytes).unwrap();
    assert_eq!(btf.len(), 8);
    assert_eq!(btf.offset("outer", "a"), Some(0));
    assert_eq!(btf.offset("outer", "b"), Some(4));
    assert_eq!(btf.offset("outer", "c.y"), Some(12));
    assert_eq!(btf.offset("outer", "d"), Some(4));
    assert_eq!(btf.offset("outer", "bits"), None, "a bit field that begins inside a byte");
    assert_eq!(btf.offset("outer", "a.x"), None, "an int has no fields");
    assert_eq!(btf.offset("outer", "nothing"), None);
    assert_eq!(btf.offset("nothing", "a"), None);
    assert_eq!(btf.size("inner"), Some(8));
    assert_eq!(btf.parameters("f"), Some(2));
}

#[test]
fn every_truncation_is_an_error_or_finds_nothing_wrong() {
    let bytes = sample();
    for length in 0..bytes.len() {
        assert!(parse(&bytes[..length]).is_err(), "{length}");
    }
}

#[test]
fn every_flipped_byte_is_survived() {
    let bytes = sample();
    for at in 0..bytes.len() {
        for value in [0, 1, 0x7f, 0x80, 0xff] {
            let mut broken = bytes.clone();
            broken[at] = value;
            if let Ok(btf) = parse(&broken) {
                for path in ["a", "b", "c.y", "d", "bits"] {
                    _ = btf.offset("outer", path);
                }
                _ = (btf.size("inner"), btf.parameters("f"));
            }
        }
    }
}

#[test]
fn a_type_that_contains_itself_ends() {
    let mut bytes = sample();
    // The unnamed struct (type 4) becomes its own unnamed first member.
    let type4 = 24 + (4 + 9 + 3) * 4;
    bytes[type4 + 12..type4 + 16].copy_from_slice(&0u32.to_ne_bytes());
    bytes[type4 + 16..type4 + 20].copy_from_slice(&4u32.to_ne_bytes());
    let btf = parse(&bytes).unwrap();
    assert_eq!(btf.offset("outer", "nothing"), None);
}

#[test]
fn unknown_kinds_and_foreign_bytes_are_refused() {
    let mut bytes = sample();
    bytes[24 + 7] = 25;
    assert_eq!(parse(&bytes).err(), Some(BtfError::Kind { id: 1, kind: 25 }));
    bytes[0] ^= 0xff;
    assert_eq!(parse(&bytes).err(), Some(BtfError::Magic));
}

#[test]
fn reads_the_running_kernel() {
    let Ok(bytes) = std::fs::read("/sys/kernel/btf/vmlinux") else {
        eprintln!("skipped: this kernel shows no type information");
        return;
    };
    let btf = parse(&bytes).unwrap();
    assert!(btf.len() > 10_000);
    // struct sock begins with struct sock_common, on every kernel.
    assert_eq!(btf.offset("sock", "__sk_common"), Some(0));
    assert_eq!(btf.offset("sock", "__sk_common.skc_family"), btf.offset("sock_common", "skc_family"));
    assert_eq!(btf.parameters("security_file_open"), Some(1));
}

/// Found by the fuzz target: four ways down at each of 32 levels took longer than the age of the universe.
#[test]
fn a_struct_of_unnamed_members_of_itself_is_searched_in_bounded_steps() {
    let names = b"\0s\0";
    let mut types: Vec<u32> = vec![1, 4 << 24 | 4, 16];
    types.extend([0, 1, 0].repeat(4));
    let body: Vec<u8> = types.iter().flat_map(|w| w.to_ne_bytes()).collect();
    let mut bytes = MAGIC.to_ne_bytes().to_vec();
    bytes.extend([1, 0]);
    for field in [24, 0, body.len() as u32, body.len() as u32, names.len() as u32] {
        bytes.extend(field.to_ne_bytes());
    }
    bytes.extend(body);
    bytes.extend(names);
    assert_eq!(parse(&bytes).unwrap().offset("s", "missing"), None);
}
