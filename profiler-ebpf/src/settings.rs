//! The settings: constants that the user side sets before it loads the object.
//!
//! profiler_common has the lists ([`settings`](profiler_common::settings)). Each setting that the
//! user side does not set is 0.

use aya_ebpf::Global;

macro_rules! define_options {
    ($($(#[$doc:meta])* $setting:ident,)+) => {$(
        $(#[$doc])*
        #[unsafe(no_mangle)]
        pub static $setting: Global<u32> = Global::new(0);
    )+};
}
profiler_common::for_each_option!(define_options);

macro_rules! define_fields {
    ($(
        $setting:ident $measure:ident $structure:literal $member:literal
        $group:ident $presence:ident $(from $from:tt)? $(to $to:tt)?;
    )+) => {$(
        #[doc = concat!(stringify!($measure), " of `", $structure, ".", $member, "`, bytes.")]
        #[unsafe(no_mangle)]
        pub static $setting: Global<u32> = Global::new(0);
    )+};
}
profiler_common::for_each_field!(define_fields);
