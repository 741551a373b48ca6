//! A model file of any bytes is refused, or its model can be used.
#![no_main]

use heedful_translate::bundle::Bundle;
use heedful_translate::config::Storage;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(bundle) = Bundle::from_bytes(bytes) {
        assert!(bundle.model.parameters().values().iter().all(|weight| weight.is_finite()));
        let again = Bundle::from_bytes(&bundle.to_bytes(Storage::F32).expect("finite weights")).expect("what was written reads back");
        assert_eq!(again.model.parameters().values(), bundle.model.parameters().values());
        bundle.tokenizer.decode(&bundle.tokenizer.encode_ids("ein Wort"));
    }
});
