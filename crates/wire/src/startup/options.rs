use weir_model::{Code, Refusal, Result};

/// Settings in a start-up packet's `options`, a command line: `-c name=value`, `-cname=value` or `--name=value`, where
/// a backslash takes the next character as it is.
pub(crate) fn parse(options: &str) -> Result<Vec<(String, String)>> {
    let invalid = |argument: &str| {
        Refusal::new(
            Code::InvalidParameter,
            format!("invalid command-line argument in start-up options: \"{argument}\""),
        )
        .hint("write -c name=value")
    };
    let mut settings = Vec::new();
    let mut arguments = split(options).into_iter();
    while let Some(argument) = arguments.next() {
        let assignment = if argument == "-c" {
            arguments.next().ok_or_else(|| invalid(&argument))?
        } else if let Some(rest) = argument.strip_prefix("--").or_else(|| argument.strip_prefix("-c")) {
            rest.to_owned()
        } else {
            return Err(invalid(&argument));
        };
        let (name, value) = assignment.split_once('=').ok_or_else(|| invalid(&assignment))?;
        let name = name.replace('-', "_");
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.');
        if name.is_empty() || !name.chars().all(plain) {
            return Err(invalid(&assignment));
        }
        settings.push((name, value.to_owned()));
    }
    Ok(settings)
}

fn split(options: &str) -> Vec<String> {
    let mut arguments = Vec::new();
    let mut current: Option<String> = None;
    let mut characters = options.chars();
    while let Some(character) = characters.next() {
        match character {
            c if c.is_ascii_whitespace() => arguments.extend(current.take()),
            '\\' => current.get_or_insert_default().extend(characters.next()),
            c => current.get_or_insert_default().push(c),
        }
    }
    arguments.extend(current);
    arguments
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_lines() {
        let check = |options: &str, expected: &[(&str, &str)]| {
            let parsed = parse(options).unwrap();
            let parsed: Vec<_> = parsed.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            assert_eq!(parsed, expected, "{options}");
        };
        check("", &[]);
        check("-c a=1  -cb=2 --c-d=3", &[("a", "1"), ("b", "2"), ("c_d", "3")]);
        check("-c a=x\\ y\\\\z -c b=", &[("a", "x y\\z"), ("b", "")]);
        check("-c a=b=c", &[("a", "b=c")]);
        for bad in ["-c", "-c a", "a=1", "-x a=1", "-c a;b=1", "-c =1"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
