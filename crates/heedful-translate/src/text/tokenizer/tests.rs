use proptest::prelude::*;

use super::super::{BOS, EOS, FIRST_BYTE, RESERVED, Tokenizer, normalise};

const LINES: [&str; 6] = [
    "Kannst du mir helfen? Ja, ich kann dir helfen.",
    "Can you help me? Yes, I can help you.",
    "Die Katze sitzt auf der Matte, und die Katzen helfen nicht.",
    "The cat sits on the mat, and the cats don't help.",
    "Ich hei\u{df}e Lea; ich bin 25, und du bist 52.",
    "My name is Lea; I am 25, and you are 52. \u{201e}Sch\u{f6}n\u{201c}, sch\u{f6}n, sch\u{f6}n!",
];

fn tokenizer() -> Tokenizer {
    Tokenizer::learn(&LINES, 400).unwrap()
}

#[test]
fn learns_frequent_words_and_keeps_digits_apart() {
    let tokenizer = tokenizer();
    assert!(tokenizer.vocabulary_size() > RESERVED + 40 && tokenizer.vocabulary_size() <= 400);
    let texts = |text: &str| tokenizer.encode_ids(text).into_iter().map(|id| tokenizer.token_text(id).unwrap()).collect::<Vec<_>>();
    assert_eq!(texts("ich helfen"), ["\u{2581}ich", "\u{2581}helfen"]);
    assert_eq!(texts("2552"), ["\u{2581}2", "5", "5", "2"]);
    assert_eq!(texts("\u{20ac}")[1..], ["<0xE2>", "<0x82>", "<0xAC>"]);
    assert_eq!((tokenizer.token_text(BOS).unwrap(), tokenizer.token_text(EOS).unwrap()), ("<s>".into(), "</s>".into()));
    assert_eq!(tokenizer.token_text(400), None);
}

#[test]
fn the_order_of_lines_does_not_matter() {
    let mut reversed = LINES;
    reversed.reverse();
    assert_eq!(Tokenizer::learn(&reversed, 400).unwrap().to_json(), tokenizer().to_json());
}

#[test]
fn encodes_with_words_and_where_they_are() {
    let text = " Scho\u{308}n,  don\u{2019}t 12\u{a0}\u{20ac}";
    let encoding = tokenizer().encode(text);
    let words: Vec<_> = encoding.words.iter().map(|word| (word.text.as_str(), &text[word.range.clone()])).collect();
    assert_eq!(words, [("Sch\u{f6}n", "Scho\u{308}n"), (",", ","), ("don't", "don\u{2019}t"), ("12", "12"), ("\u{20ac}", "\u{20ac}")]);
    assert_eq!(encoding.word_of.len(), encoding.ids.len());
    assert!(encoding.word_of.is_sorted() && (0..5).all(|word| encoding.word_of.contains(&word)));
}

#[test]
fn words_come_back_together_with_their_tokens() {
    let tokenizer = tokenizer();
    let mut ids = vec![BOS];
    ids.extend(tokenizer.encode_ids("Sch\u{f6}n, Lea's 12\u{20ac}"));
    ids.push(EOS);
    let words = tokenizer.decode_words(&ids);
    let texts: Vec<_> = words.iter().map(|word| (word.text.as_str(), word.space_before)).collect();
    assert_eq!(texts, [("Sch\u{f6}n", false), (",", false), ("Lea's", true), ("12", true), ("\u{20ac}", false)]);
    assert_eq!(words[0].tokens.start, 1);
    assert_eq!(words[4].tokens, ids.len() - 4..ids.len() - 1);
    assert!(words.windows(2).all(|pair| pair[0].tokens.end == pair[1].tokens.start));
}

#[test]
fn broken_bytes_become_a_replacement_character() {
    let tokenizer = tokenizer();
    let ids = [FIRST_BYTE + 0xE2, FIRST_BYTE + 0x82, FIRST_BYTE + u32::from(b'a'), 9999];
    assert_eq!(tokenizer.decode(&ids), "\u{fffd}a");
    let words = tokenizer.decode_words(&ids);
    assert_eq!(words.iter().map(|word| (word.text.as_str(), word.tokens.clone())).collect::<Vec<_>>(), [("\u{fffd}", 0..1), ("a", 2..3)]);
}

#[test]
fn refuses_what_cannot_be_learnt_or_read() {
    assert!(Tokenizer::learn(&[" ", ""], 400).unwrap_err().to_string().contains("no text"));
    assert!(Tokenizer::learn(&LINES, 258).unwrap_err().to_string().contains("258"));
    for (json, complaint) in [
        ("{", "EOF"),
        (r#"{"format":"other","alphabet":"","merges":[]}"#, "\"other\""),
        (r#"{"format":"heedful-bpe-1","alphabet":"ba","merges":[]}"#, "not in order"),
        (r#"{"format":"heedful-bpe-1","alphabet":"ab","merges":[[258,260]]}"#, "token 260"),
        (r#"{"format":"heedful-bpe-1","alphabet":"ab","merges":[[2,258]]}"#, "token 2"),
        (r#"{"format":"heedful-bpe-1","alphabet":"ab","merges":[[258,259],[258,259]]}"#, "twice"),
        (r#"{"format":"heedful-bpe-1","alphabet":"<>s","merges":[[258,260],[261,259]]}"#, "reserved"),
    ] {
        let message = Tokenizer::from_json(json).unwrap_err().to_string();
        assert!(message.contains(complaint), "{json}: {message}");
    }
    let doubling: Vec<String> = (258..300).map(|id| format!("[{id},{id}]")).collect();
    let json = format!(r#"{{"format":"heedful-bpe-1","alphabet":"a","merges":[{}]}}"#, doubling.join(","));
    assert!(Tokenizer::from_json(&json).unwrap_err().to_string().contains("bytes"));
}

#[test]
fn dropout_is_a_function_of_the_seed_and_spells_the_same() {
    let tokenizer = tokenizer();
    let text = "Die Katzen helfen dir nicht, Lea.";
    assert_eq!(tokenizer.encode_ids_with_dropout(text, f32::MIN_POSITIVE, 1), tokenizer.encode_ids(text));
    assert_eq!(tokenizer.encode_ids_with_dropout(text, 1.0, 1).len(), text.len() + 1);
    let dropped = tokenizer.encode_ids_with_dropout(text, 0.3, 7);
    assert_eq!(dropped, tokenizer.encode_ids_with_dropout(text, 0.3, 7));
    assert_ne!(dropped, tokenizer.encode_ids_with_dropout(text, 0.3, 8));
    assert_eq!(tokenizer.decode(&dropped), text);
}

proptest! {
    #[test]
    fn nothing_is_unknown(text in ".*|\\PC*|[a-zA-Z\u{e4}\u{f6}\u{fc} 0-9'\\-.,<>x\u{2581}\u{300}-\u{310}]*", probability in 0f32..1.0, seed: u64) {
        let tokenizer = tokenizer();
        let encoding = tokenizer.encode(&text);
        prop_assert_eq!(tokenizer.decode(&encoding.ids), normalise(&text));
        prop_assert_eq!(&tokenizer.encode_ids(&text), &encoding.ids);
        let dropped = tokenizer.encode_ids_with_dropout(&text, probability, seed);
        prop_assert_eq!(tokenizer.decode(&dropped), normalise(&text));
        let words = tokenizer.decode_words(&encoding.ids);
        prop_assert_eq!(
            words.iter().map(|word| word.text.as_str()).collect::<Vec<_>>(),
            encoding.words.iter().map(|word| word.text.as_str()).collect::<Vec<_>>()
        );
        for (index, word) in words.iter().enumerate() {
            prop_assert!(encoding.word_of[word.tokens.clone()].iter().all(|&of| of == index));
        }
    }

    #[test]
    fn any_bytes_decode_to_themselves(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let tokenizer = tokenizer();
        let text = String::from_utf8_lossy(&bytes);
        prop_assert_eq!(tokenizer.decode(&tokenizer.encode_ids(&text)), normalise(&text));
    }

    #[test]
    fn any_tokens_can_be_decoded(ids in prop::collection::vec(0u32..420, 0..40)) {
        let tokenizer = tokenizer();
        let text = tokenizer.decode(&ids);
        prop_assert!(!text.contains(|c: char| c.is_ascii_control()), "{text:?} would be more than a line");
        let words = tokenizer.decode_words(&ids);
        let together: String = words.iter().map(|word| word.text.as_str()).collect();
        let without_space = |text: &str| text.split_whitespace().collect::<String>();
        prop_assert_eq!(without_space(&together), without_space(&text));
        prop_assert!(words.windows(2).all(|pair| pair[0].tokens.end <= pair[1].tokens.start));
    }

    #[test]
    fn any_json_is_read_or_refused(json in "\\PC*|\\{\"format\":\"heedful-bpe-1\",\"alphabet\":\"[a-c]{0,4}\",\"merges\":\\[(\\[2[56][0-9],2[56][0-9]\\],)*\\[258,259\\]\\]\\}") {
        if let Ok(tokenizer) = Tokenizer::from_json(&json) {
            prop_assert_eq!(tokenizer.decode(&tokenizer.encode_ids("abcabc d")), "abcabc d");
            prop_assert_eq!(&Tokenizer::from_json(&tokenizer.to_json()).unwrap(), &tokenizer);
        }
    }
}

#[test]
fn survives_storage() {
    let tokenizer = tokenizer();
    let again = Tokenizer::from_json(&tokenizer.to_json()).unwrap();
    assert_eq!(again.vocabulary_size(), tokenizer.vocabulary_size());
    assert_eq!(again.encode("Die Katze hilft \u{20ac}!"), tokenizer.encode("Die Katze hilft \u{20ac}!"));
}
