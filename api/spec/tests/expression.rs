//! The length language, against a second opinion.

use proptest::prelude::*;
use weir_spec::Spec;
use weir_spec::expression::Leaf;
use weir_spec::model::Role;

/// An expression over two parameters, as a tree that is written out and computed here.
#[derive(Clone, Debug)]
enum Tree {
    Number(u64),
    A,
    B,
    Binary(&'static str, Box<Tree>, Box<Tree>),
    Not(Box<Tree>),
    Negate(Box<Tree>),
    Cast(&'static str, Box<Tree>),
    If(Box<Tree>, Box<Tree>, Box<Tree>),
    /// `match` with the cases 0 and 1 | 5.
    Match(Box<Tree>, Box<Tree>, Box<Tree>, Box<Tree>),
    /// The `const fn` of [`compiled`].
    Mix(Box<Tree>, Box<Tree>),
}

const OPERATORS: [&str; 20] = [
    "+", "-", "*", "/", "%", "&", "|", "^", "<<", ">>", "==", "!=", "<", "<=", ">", ">=", "&&",
    "||", "min", "max",
];

impl Tree {
    fn text(&self) -> String {
        match self {
            Tree::Number(n) => n.to_string(),
            Tree::A => "a".into(),
            Tree::B => "b".into(),
            Tree::Binary(op @ ("min" | "max"), l, r) => {
                format!("({}).{op}({})", l.text(), r.text())
            }
            Tree::Binary(op, l, r) => format!("({} {op} {})", l.text(), r.text()),
            Tree::Not(x) => format!("!({})", x.text()),
            Tree::Negate(x) => format!("-({})", x.text()),
            Tree::Cast(ty, x) => format!("(({}) as {ty})", x.text()),
            Tree::Match(on, x, y, z) => {
                let [on, x, y, z] = [on, x, y, z].map(|tree| tree.text());
                format!("(match ({on}) {{ 0 => {x}, 1 | FIVE => {y}, _ => {z} }})")
            }
            Tree::Mix(x, y) => format!("mix({}, {})", x.text(), y.text()),
            Tree::If(c, t, e) => {
                format!(
                    "(if ({}) {{ {} }} else {{ {} }})",
                    c.text(),
                    t.text(),
                    e.text()
                )
            }
        }
    }

    fn value(&self, a: i128, b: i128) -> Option<i128> {
        let truth = |x: bool| Some(x as i128);
        Some(match self {
            Tree::Number(n) => i128::from(*n),
            Tree::A => a,
            Tree::B => b,
            Tree::Not(x) => (x.value(a, b)? == 0) as i128,
            Tree::Negate(x) => 0i128.checked_sub(x.value(a, b)?)?,
            Tree::Cast("u8", x) => i128::from(x.value(a, b)? as u8),
            Tree::Cast("i16", x) => i128::from(x.value(a, b)? as i16),
            Tree::Cast("u32", x) => i128::from(x.value(a, b)? as u32),
            Tree::Cast(_, x) => i128::from(x.value(a, b)? as i64),
            Tree::Match(on, x, y, z) => {
                return match on.value(a, b)? {
                    0 => x.value(a, b),
                    1 | 5 => y.value(a, b),
                    _ => z.value(a, b),
                };
            }
            Tree::Mix(x, y) => {
                let (x, y) = (x.value(a, b)?, y.value(a, b)?);
                return match x {
                    9 => None,
                    _ => x.checked_sub(y)?.checked_mul(3),
                };
            }
            Tree::If(c, t, e) => {
                let chosen = if c.value(a, b)? == 0 { e } else { t };
                return chosen.value(a, b);
            }
            Tree::Binary(op, l, r) => {
                let l = l.value(a, b)?;
                match *op {
                    "&&" if l == 0 => return Some(0),
                    "||" if l != 0 => return Some(1),
                    _ => {}
                }
                let r = r.value(a, b)?;
                let power = || {
                    u32::try_from(r)
                        .ok()
                        .filter(|n| *n < 127)
                        .map(|n| 2i128.pow(n))
                };
                return match *op {
                    "+" => l.checked_add(r),
                    "-" => l.checked_sub(r),
                    "*" => l.checked_mul(r),
                    "/" => (r != 0).then(|| l.checked_div(r)).flatten(),
                    "%" => (r != 0).then(|| l.checked_rem(r)).flatten(),
                    "&" => Some(l & r),
                    "|" => Some(l | r),
                    "^" => Some(l ^ r),
                    "<<" => l.checked_mul(power()?),
                    ">>" => Some(l.div_euclid(power()?)),
                    "==" => truth(l == r),
                    "!=" => truth(l != r),
                    "<" => truth(l < r),
                    "<=" => truth(l <= r),
                    ">" => truth(l > r),
                    ">=" => truth(l >= r),
                    "&&" | "||" => truth(r != 0),
                    "min" => Some(l.min(r)),
                    "max" => Some(l.max(r)),
                    _ => unreachable!(),
                };
            }
        })
    }
}

fn tree() -> impl Strategy<Value = Tree> {
    let leaf = prop_oneof![
        any::<u64>().prop_map(Tree::Number),
        (0u64..70).prop_map(Tree::Number),
        Just(Tree::A),
        Just(Tree::B),
    ];
    leaf.prop_recursive(5, 40, 3, |inner| {
        let boxed = || inner.clone().prop_map(Box::new);
        prop_oneof![
            6 => (prop::sample::select(&OPERATORS[..]), boxed(), boxed())
                .prop_map(|(op, l, r)| Tree::Binary(op, l, r)),
            1 => boxed().prop_map(Tree::Not),
            1 => boxed().prop_map(Tree::Negate),
            1 => (prop::sample::select(&["u8", "i16", "u32", "isize"][..]), boxed())
                .prop_map(|(ty, x)| Tree::Cast(ty, x)),
            1 => (boxed(), boxed(), boxed()).prop_map(|(c, t, e)| Tree::If(c, t, e)),
            1 => (boxed(), boxed(), boxed(), boxed())
                .prop_map(|(on, x, y, z)| Tree::Match(on, x, y, z)),
            1 => (boxed(), boxed()).prop_map(|(x, y)| Tree::Mix(x, y)),
        ]
    })
}

/// What the compiler makes of a length.
fn compiled(text: &str) -> weir_spec::expression::Expression {
    let spec = format!(
        "#![api(name = \"t\", id = 1, library = \"l\")]
         #![errors(lost = -1, malformed = -1, quota = -1, unsupported = -1)]
         const FIVE: u32 = 5;
         const fn mix(x: u64, y: u64) -> u64 {{ match x {{ 9 => panic!(), _ => (x - y) * 3 }} }}
         unsafe extern \"C\" {{ fn f(a: u64, b: i32, #[len({text})] p: *mut c_void) -> i32; }}"
    );
    let mut spec = Spec::parse("t.rs", &spec).unwrap_or_else(|e| panic!("{e}"));
    match spec.functions.remove(0).params.remove(2).role {
        Role::Output { len, .. } => len,
        other => panic!("{other:?}"),
    }
}

proptest! {
    #[test]
    fn a_length_is_what_its_text_says(tree in tree(), a: u64, b: i32) {
        let (a, b) = (i128::from(a), i128::from(b));
        let found = compiled(&tree.text()).evaluate(&mut |leaf| match leaf {
            Leaf::Param(0) => Some(a),
            Leaf::Param(1) => Some(b),
            other => panic!("{other:?}"),
        });
        prop_assert_eq!(found, tree.value(a, b));
    }
}

#[test]
fn operators_bind_as_in_rust() {
    let value = |text: &str| compiled(text).evaluate(&mut |_| Some(10));
    assert_eq!(value("a + b * 2"), Some(30));
    assert_eq!(value("a << 2 | 1"), Some(41));
    assert_eq!(value("1 + size_of::<u64>() * 3"), Some(25));
    assert_eq!(value("if a == 10 && !(b < 3) { 7 } else { 8 }"), Some(7));
    assert_eq!(
        value("if a == 1 { 7 } else if a == 10 { 8 } else { 9 }"),
        Some(8)
    );
    assert_eq!(
        value("a / (b - 10)"),
        None,
        "a division by zero has no value"
    );
    assert_eq!(value("a << 200"), None);
}
