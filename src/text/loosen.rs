//! What `fold: aggressive` reads beyond `standard`: contact names by their many spellings, characters
//! taken apart, digits put between characters.
//!
//! The result is a further reading beside the standard one, never in its place, so that what it gets
//! wrong hides nothing.

use super::chars::{CharFold, Kind, fold};
use super::components;
use super::symbols::{Symbol, Symbols};

/// Taken for 微 where 信 or another sign of a contact follows.
const WEI: &str = "微薇威徽溦葳巍崴嶶維维唯喂為为卫尉魏伟惟";
/// Taken for 信 behind one of these.
const XIN: &str = "信芯訫伈囟欣心星鑫馨";
/// Signs of addition, taken for 加 before a contact and between characters. Homophones are left to
/// the reading by sound.
const PLUS: &str = "+➕✚╋✛➹";
/// Behind 微, these make another word than the contact: 微博, 微笑.
const AFTER_WEI: &str = "博商店笑米软妙小风调课视群电积分量型观波服粒弱生机创薄";
/// Latin spellings of WeChat, and of QQ.
const WECHAT: &[&str] = &[
    "vx", "wx", "weixin", "wechat", "vxin", "wxin", "weichat", "vchat", "wexin", "vixin", "weixing",
];
/// Taken for 群 behind a lone q.
const QUN: &str = "群羣裙峮";
/// Hearts, taken for the second half of 微信.
const HEARTS: &str = "❤♥♡💕💖💗💓💙💚💜🖤🧡💛";
const QQ_HAN: &[&str] = &["扣扣", "叩叩", "抠抠", "球球", "秋秋", "企鹅"];

/// How many digits between two characters are put there to part them.
const MAX_DIGITS: usize = 4;

/// The loose reading; `None` where it is the same as the strict one.
pub(crate) fn loosen(symbols: &Symbols) -> Option<Symbols> {
    let mut reader = Reader {
        from: &symbols.row,
        row: Vec::with_capacity(symbols.row.len() + 4),
        changed: false,
    };
    let mut at = 0;
    while at < symbols.row.len() {
        at = reader.step(at);
    }
    reader.changed.then(|| Symbols { row: reader.row, ..symbols.flags() })
}

struct Reader<'a> {
    from: &'a [Symbol],
    row: Vec<Symbol>,
    changed: bool,
}

impl Reader<'_> {
    /// Reads what begins at a symbol and says where to go on.
    fn step(&mut self, at: usize) -> usize {
        let symbol = self.from[at];
        match symbol.kind() {
            Kind::Digit if self.parts_characters(at) => {
                self.changed = true;
                return self.digits_end(at);
            }
            Kind::Free => {
                if let Some(next) = self.component(at).or_else(|| self.qq(at)) {
                    return next;
                }
            }
            _ => {}
        }
        if let Some(next) = self.wechat(at).or_else(|| self.q_group(at)) {
            return next;
        }
        if self.is_plus(at) {
            self.put('加', at, at);
            return at + 1;
        }
        self.row.push(symbol);
        at + 1
    }

    fn put(&mut self, c: char, first: usize, last: usize) {
        let (start, end) = (self.from[first].start, self.from[last].end);
        let read = fold(c);
        let same = first == last && self.from[first].fold.shown == read.shown;
        self.changed |= !same;
        self.row.push(Symbol { fold: read, start, end });
    }

    /// Where a short run of digits ends; a longer one is not followed to its end.
    fn digits_end(&self, at: usize) -> usize {
        let digits = self.from[at..].iter().take(MAX_DIGITS + 1);
        at + digits.take_while(|s| s.kind() == Kind::Digit).count()
    }

    /// A few digits with a character of a text without word spaces on either side.
    fn parts_characters(&self, at: usize) -> bool {
        let end = self.digits_end(at);
        let free = |symbol: Option<&Symbol>| symbol.is_some_and(|s| s.kind() == Kind::Free);
        end - at <= MAX_DIGITS && at > 0 && free(self.from.get(at - 1)) && free(self.from.get(end))
    }

    fn component(&mut self, at: usize) -> Option<usize> {
        if !self.from[at].fold.has(CharFold::PART) {
            return None;
        }
        let next = self.from.get(at + 1)?;
        let whole = components::whole(self.from[at].fold.shown, next.fold.shown)?;
        self.put(whole, at, at + 1);
        Some(at + 2)
    }

    fn qq(&mut self, at: usize) -> Option<usize> {
        let next = self.from.get(at + 1)?.fold.shown;
        let here = self.from[at].fold.shown;
        let known = QQ_HAN.iter().any(|name| name.chars().eq([here, next]));
        if !known {
            return None;
        }
        self.put('q', at, at);
        self.put('q', at + 1, at + 1);
        Some(at + 2)
    }

    /// Q群 and Q裙 are 群.
    fn q_group(&mut self, at: usize) -> Option<usize> {
        let group = self.from.get(at + 1).is_some_and(|next| QUN.contains(next.fold.shown));
        let lone = at == 0 || self.from[at - 1].kind() != Kind::Word;
        if self.from[at].fold.shown != 'q' || !group || !lone {
            return None;
        }
        self.put('群', at, at + 1);
        Some(at + 2)
    }

    /// The next letter and where it is, at most two separators on.
    fn next_letter(&self, at: usize) -> Option<(usize, &Symbol)> {
        let near = self.from.iter().enumerate().skip(at + 1).take(3);
        let mut letters = near.filter(|(_, symbol)| symbol.is_letter());
        letters.next()
    }

    fn last_letter(&self) -> Option<char> {
        let near = self.row.iter().rev().take(3);
        near.filter(|symbol| symbol.is_letter()).map(|symbol| symbol.fold.shown).next()
    }

    /// A spelling of 微信 that begins here, read as 微信.
    fn wechat(&mut self, at: usize) -> Option<usize> {
        let here = self.from[at];
        let wei_like = (here.kind() == Kind::Free && WEI.contains(here.fold.shown)) || is_v(&here);
        let word_before = at > 0 && self.from[at - 1].kind() == Kind::Word;
        if !wei_like || (word_before && here.kind() == Kind::Word) {
            return None;
        }
        if here.kind() == Kind::Word {
            let word = self.word(at);
            if WECHAT.contains(&word.as_str()) {
                let last = at + word.len() - 1;
                self.added();
                self.put('微', at, at);
                self.put('信', at + 1, last);
                return Some(last + 1);
            }
            if !matches!(word.as_str(), "v" | "vv" | "w") {
                return None;
            }
        }
        if let Some((next, symbol)) = self.next_letter(at)
            && (XIN.contains(symbol.fold.shown)
                || symbol.fold.shown == 'x' && self.word(next) == "x" && !self.is_spelled(next))
            && strict_pair(here.fold.shown, symbol.fold.shown)
        {
            self.added();
            self.put('微', at, at);
            self.row.extend(&self.from[at + 1..next]);
            self.put('信', next, next);
            return Some(next + 1);
        }
        let heart = self.from.get(at + 1).is_some_and(|next| HEARTS.contains(next.fold.plain));
        if heart && ("薇徽溦".contains(here.fold.shown) || is_v(&here)) {
            self.added();
            self.put('微', at, at);
            self.put('信', at + 1, at + 1);
            return Some(at + 2);
        }
        let added = self.last_letter() == Some('加');
        let other_word = self.next_letter(at).is_some_and(|(at, next)| {
            AFTER_WEI.contains(next.fold.shown) || self.word(at).starts_with("xin")
        }) || self.is_spelled(at);
        let alone = "微薇徽溦".contains(here.fold.shown) || is_v(&here);
        if added && alone && !other_word {
            self.put('微', at, at);
            self.put('信', at, at);
            return Some(at + 1);
        }
        None
    }

    /// Whether a letter is one of several written apart: the w of `w.o`, not that of `w: name`.
    fn is_spelled(&self, at: usize) -> bool {
        self.next_letter(at).is_some_and(|(next, symbol)| {
            let parted = next > at + 1 && self.from[at + 1].kind() != Kind::Space;
            parted && symbol.kind() == Kind::Word && self.word(next).len() == 1
        })
    }

    /// 十 before a contact is there for 加, unless it counts.
    fn added(&mut self) {
        let [.., before, last] = self.row.as_mut_slice() else {
            if let [last] = self.row.as_mut_slice()
                && last.fold.shown == '十'
            {
                last.fold = fold('加');
                self.changed = true;
            }
            return;
        };
        let counts = "一二三四五六七八九几数第".contains(before.fold.shown);
        if last.fold.shown == '十' && !counts {
            last.fold = fold('加');
            self.changed = true;
        }
    }

    /// The Latin word that begins at a symbol.
    fn word(&self, at: usize) -> String {
        let letters = self.from[at..].iter().take_while(|s| s.kind() == Kind::Word);
        letters.take(12).map(|symbol| symbol.fold.shown).filter(char::is_ascii).collect()
    }

    /// One sign right before a character; several in a row only part what they stand between.
    fn is_plus_between_characters(&self, at: usize) -> bool {
        let symbol = |at: usize| self.from.get(at);
        let plus = |s: Option<&Symbol>| s.is_some_and(|s| PLUS.contains(s.fold.plain));
        let free = symbol(at + 1).is_some_and(|s| s.kind() == Kind::Free);
        let before = |by: usize| at.checked_sub(by).and_then(symbol);
        let latin = before(1).is_some_and(|s| s.kind() == Kind::Word);
        let several = [symbol(at + 2), before(2), before(1)].into_iter().any(plus);
        free && !latin && !several
    }

    /// A sign of addition right before a contact.
    fn is_plus(&self, at: usize) -> bool {
        let here = self.from[at].fold;
        // 50+w is a number.
        let number = at > 0 && self.from[at - 1].kind() == Kind::Digit;
        if number || !PLUS.contains(here.plain) {
            return false;
        }
        if self.is_plus_between_characters(at) {
            return true;
        }
        let Some((next, symbol)) = self.next_letter(at) else { return false };
        let word = if symbol.kind() == Kind::Word { self.word(next) } else { String::new() };
        let han = "微薇徽溦".contains(symbol.fold.shown)
            || (WEI.contains(symbol.fold.shown)
                && self.next_letter(next).is_some_and(|(_, xin)| xin.fold.shown == '信'));
        han || matches!(word.as_str(), "v" | "vv" | "w" | "q" | "qq")
            || WECHAT.contains(&word.as_str())
            || (is_v(symbol) && word.is_empty())
    }
}

/// A v or a sign drawn like one.
fn is_v(symbol: &Symbol) -> bool {
    let sign = symbol.fold.has(CharFold::SIGN) && symbol.fold.sign == 'v';
    sign || matches!(symbol.fold.shown, 'v' | 'w')
}

/// Pairs that hardly ever mean anything else. 为信, 维新 and the like are words of their own.
fn strict_pair(wei: char, xin: char) -> bool {
    match xin {
        '信' | 'x' => !matches!(wei, '为' | '維' | '维' | '卫' | '惟' | '唯'),
        '伈' | '訫' | '囟' => true,
        _ => matches!(wei, '薇' | '徽' | '溦' | 'v'),
    }
}

#[cfg(test)]
mod tests {
    use super::super::symbols::Squeezed;
    use super::*;

    fn loose(text: &str) -> String {
        let symbols = Symbols::of(text);
        Squeezed::of(&loosen(&symbols).unwrap_or(symbols)).into_text()
    }

    #[test]
    fn contacts_have_one_name() {
        for text in [
            "加微信",
            "加V信",
            "加薇信",
            "加wx",
            "加 VX",
            "➕薇",
            "+v",
            "加Ⓥ信",
            "➕威信",
            "加w.x",
            "加✌信",
            "加weixin",
            "力口徽❤信",
            "+薇❤️",
            "十vx",
        ] {
            assert_eq!(loose(text), "加微信", "{text}");
        }
        assert_eq!(loose("扣扣号"), "q号");
        assert_eq!(loose("➕Q裙"), "加群");
        assert_eq!(loose("加我+好友"), "加我加好友");
    }

    #[test]
    fn other_words_stay_what_they_are() {
        for text in [
            "加微博",
            "微笑",
            "为信念",
            "维新",
            "wxyz",
            "大家微微一笑",
            "十分",
            "vivo",
            "www",
            "50+w人",
            "微星主板",
            "充+值+返",
            "C++程序",
            "五十微博",
            "加.w.o.好友",
            "加微.x.i.n",
        ] {
            let symbols = Symbols::of(text);
            assert_eq!(loose(text), Squeezed::of(&symbols).into_text(), "{text}");
        }
    }

    #[test]
    fn characters_are_put_together_and_digits_between_them_taken_out() {
        assert_eq!(loose("扌召聘"), "招聘");
        assert_eq!(loose("加微123信"), "加微信");
        assert_eq!(loose("第12345号"), Squeezed::of(&Symbols::of("第12345号")).into_text());
    }
}
