//! A configuration of any text is refused, or can be printed and read back.
#![no_main]

use heedful_translate::config::TrainingConfig;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let default = TrainingConfig::default();
    for config in [default.with_toml(text), default.with_overrides(&[text])].into_iter().flatten() {
        let printed = config.to_commented_toml().expect("in range");
        assert_eq!(TrainingConfig::default().with_toml(&printed).expect("what was printed"), config);
    }
});
