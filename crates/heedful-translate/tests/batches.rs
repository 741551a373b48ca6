//! A sentence's translation is a matter between the sentence and the model: whatever is translated beside it, on however many threads, the
//! words are the same, for each architecture, with products in 32 bits and in 8.

use heedful_translate::bundle::{Bundle, BundleConfig, Card};
use heedful_translate::config::{DecodingConfig, Storage};
use heedful_translate::model::config::{ModelConfig, RnnAttentionConfig, RnnConfig, TransformerConfig};
use heedful_translate::model::{Start, build};
use heedful_translate::text::Tokenizer;
use heedful_translate::translator::{Search, TranslateOptions, Translation, Translator};

const TEXT: &str = "Der alte Mann und das Meer lagen am Morgen still, und niemand sagte ein Wort. Kannst du mir helfen, diesen Satz zu \
                    verstehen? Wir haben drei Katzen und keinen Hund!";

/// Sizes beyond one vector, so that products and attention take the paths that they take in earnest.
fn architectures() -> [ModelConfig; 3] {
    [
        ModelConfig::Rnn(RnnConfig { embedding: 24, hidden: 40, layers: 2, ..RnnConfig::default() }),
        ModelConfig::RnnAttention(RnnAttentionConfig { embedding: 24, hidden: 40, ..RnnAttentionConfig::default() }),
        ModelConfig::Transformer(TransformerConfig { dim: 48, feed_forward: 80, heads: 3, encoder_layers: 2, decoder_layers: 2 }),
    ]
}

/// Lines of 1 to 12 words in no order of length.
fn lines() -> Vec<String> {
    let words: Vec<&str> = TEXT.split(' ').collect();
    let word = |line: usize, i: usize| words[(line * 7 + i * i + 3 * i) % words.len()];
    (0..70).map(|line| (0..=line * 5 % 12).map(|i| word(line, i)).collect::<Vec<_>>().join(" ")).collect()
}

fn translator(config: &ModelConfig, storage: Storage) -> Translator {
    let tokenizer = Tokenizer::learn(&[TEXT], 330).expect("a vocabulary of this size");
    let mut model = build(config, tokenizer.vocabulary_size(), Start::Random(7));
    // Weights of a new model lead to one endless word; larger ones make it speak.
    for value in model.parameters_mut().values_mut() {
        *value *= 1.6;
    }
    let config = BundleConfig { model: config.clone(), decoding: DecodingConfig::default() };
    let file = Bundle { config, tokenizer, model, card: Card::default() }.to_bytes(storage).expect("finite weights");
    Bundle::from_bytes(&file).expect("what was written").into_translator().expect("of the same vocabulary").0
}

fn words(translations: &[Translation]) -> Vec<&str> {
    translations.iter().map(|translation| &translation.text[..]).collect()
}

#[test]
fn neither_batches_nor_threads_change_a_word() {
    let lines = lines();
    for (config, storage) in
        architectures().into_iter().flat_map(|config| [Storage::F32, Storage::I8].map(|storage| (config.clone(), storage)))
    {
        let translator = translator(&config, storage);
        for search in [Search::Greedy, Search::Beam { width: 5 }] {
            let options = TranslateOptions { search, split_sentences: false, ..TranslateOptions::default() };
            let run = |threads: usize, batch_tokens: usize| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
                let options = TranslateOptions { batch_tokens, ..options };
                pool.install(|| translator.translate(&lines, &options)).expect("a translation")
            };
            let one_by_one = run(1, 1);
            let mut different = words(&one_by_one);
            different.sort_unstable();
            different.dedup();
            assert!(different.len() > lines.len() / 2, "{} says only {} different things", config.type_name(), different.len());
            for (threads, batch_tokens) in [(1, 300), (1, 1_000_000), (2, 4096), (3, 700)] {
                let found = run(threads, batch_tokens);
                assert_eq!(
                    words(&found),
                    words(&one_by_one),
                    "{} as {storage:?} on {threads} threads in batches of {batch_tokens}",
                    config.type_name()
                );
            }
        }
    }
}
