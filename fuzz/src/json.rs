//! Changes JSON texts so that they stay JSON: libFuzzer's own changes mostly break the text, and only the parser is tried.

use serde_json::{Value, json};

/// A generator that only has to be quick (xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 11).unwrap_or_default() % n.max(1)
    }
}

/// Changes the text in the first `size` bytes of `data` and returns its new size. `None`, mostly when the text is no JSON and
/// sometimes when it is: the caller changes the bytes in another way.
pub fn mutate(data: &mut [u8], size: usize, max_size: usize, seed: u32) -> Option<usize> {
    let mut random = Random(u64::from(seed) << 8 | 0xa5);
    if random.below(4) == 0 {
        return None;
    }
    let mut value: Value = serde_json::from_slice(&data[..size]).ok()?;
    let spare = value.clone();
    for _ in 0..=random.below(3) {
        change(&mut value, &spare, &mut random);
    }
    let text = serde_json::to_vec(&value).ok()?;
    if text.len() > max_size.min(data.len()) {
        return None;
    }
    data[..text.len()].copy_from_slice(&text);
    Some(text.len())
}

fn nodes(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(nodes).sum::<usize>(),
        Value::Object(members) => 1 + members.values().map(nodes).sum::<usize>(),
        _ => 1,
    }
}

/// The node with this number, in document order.
fn node<'a>(value: &'a mut Value, number: &mut usize) -> Option<&'a mut Value> {
    if *number == 0 {
        return Some(value);
    }
    *number -= 1;
    match value {
        Value::Array(items) => items.iter_mut().find_map(|item| node(item, number)),
        Value::Object(members) => members.values_mut().find_map(|item| node(item, number)),
        _ => None,
    }
}

fn change(value: &mut Value, spare: &Value, random: &mut Random) {
    let mut number = random.below(nodes(value));
    let mut other = spare.clone();
    let mut of_spare = random.below(nodes(&other));
    let graft = node(&mut other, &mut of_spare).cloned().unwrap_or(Value::Null);
    let Some(target) = node(value, &mut number) else { return };
    match target {
        Value::Array(items) if random.below(3) > 0 => in_array(items, graft, random),
        Value::Object(members) if random.below(3) > 0 => {
            let names: Vec<String> = members.keys().cloned().collect();
            let name = names.get(random.below(names.len())).cloned().unwrap_or_default();
            if random.below(2) == 0 {
                members.remove(&name);
            } else {
                members.insert(name, graft);
            }
        }
        Value::String(text) if random.below(3) > 0 => *text = word(text, random),
        Value::Number(old) if random.below(3) > 0 => *target = number_near(old.as_i64().unwrap_or(0), random),
        target => *target = if random.below(2) == 0 { graft } else { odd(random) },
    }
}

fn in_array(items: &mut Vec<Value>, graft: Value, random: &mut Random) {
    let (a, b) = (random.below(items.len()), random.below(items.len()));
    match random.below(4) {
        0 if !items.is_empty() => drop(items.remove(a)),
        1 if !items.is_empty() => items.push(items[a].clone()),
        2 if !items.is_empty() => items.swap(a, b),
        _ => items.push(graft),
    }
}

fn word(text: &str, random: &mut Random) -> String {
    const ENDS: [&str; 12] = ["", "/", "..", "/..", "\0", ",", ":", "*", "%d", " ", "0", "é"];
    let cut = text.char_indices().map(|(at, _)| at).nth(random.below(text.chars().count())).unwrap_or(0);
    let end = ENDS[random.below(ENDS.len())];
    match random.below(4) {
        0 => format!("{}{end}", &text[..cut]),
        1 => format!("{end}{}", &text[cut..]),
        2 => format!("{text}{end}"),
        _ => text.repeat(1 + random.below(3)),
    }
}

fn number_near(old: i64, random: &mut Random) -> Value {
    let edge = 1_i64.checked_shl(u32::try_from(random.below(63)).unwrap_or(0)).unwrap_or(0);
    match random.below(6) {
        0 => json!(old.wrapping_add(1)),
        1 => json!(old.wrapping_sub(1)),
        2 => json!(old.wrapping_neg()),
        3 => json!(edge),
        4 => json!(edge.wrapping_sub(1)),
        _ => json!(u64::MAX - u64::try_from(random.below(2)).unwrap_or(0)),
    }
}

fn odd(random: &mut Random) -> Value {
    [Value::Null, json!(0), json!(-1), json!(1.5), json!(""), json!([]), json!({}), json!(true), json!(u64::MAX)]
        [random.below(9)]
    .clone()
}
