//! First slice.
fn main() {
    let k = sekhmet_helper::kernel::load(&Default::default()).unwrap();
    for o in k.outcomes() { println!("{} {:?} {:?}", o.probe.program, o.refused, o.verified_instructions); }
}
