use super::*;

fn call(line: &str) -> Result<Request, Usage> {
    let words: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
    parse(&words)
}

fn parsed(line: &str) -> Call {
    match call(line) {
        Ok(Request::Call(call)) => call,
        other => panic!("{line}: {other:?}"),
    }
}

#[test]
fn spellings_of_one_flag_are_the_same() {
    for spelling in
        ["--bundle /b", "--bundle=/b", "-bundle /b", "-bundle=/b", "-b /b", "-b=/b", "-b/b", "-d -b /b", "-db /b"]
    {
        let c = parsed(&format!("run {spelling} id"));
        assert_eq!(c.flags.path("bundle"), Some("/b".into()), "{spelling}");
        assert_eq!(c.positionals, ["id"], "{spelling}");
    }
}

#[test]
fn spellings_of_a_boolean() {
    for (line, on) in [
        ("--detach", true),
        ("-detach", true),
        ("-d", true),
        ("--detach=true", true),
        ("-d=1", true),
        ("--detach=false", false),
        ("-detach=F", false),
        ("--detach --detach=false", false),
    ] {
        assert_eq!(parsed(&format!("run {line} id")).flags.switch("detach"), on, "{line}");
    }
    assert!(call("run --detach=maybe id").is_err());
}

#[test]
fn the_word_after_a_flag_is_its_value_whatever_it_looks_like() {
    let c = parsed("update --memory-swap -1 --cpu-quota=-1 -resources - id");
    assert_eq!(c.flags.text("memory-swap").unwrap().as_deref(), Some("-1"));
    assert_eq!(c.flags.number::<i64>("cpu-quota").unwrap(), Some(-1));
    assert_eq!(c.flags.path("resources"), Some("-".into()));
}

#[test]
fn flags_may_follow_positionals_except_where_these_belong_to_others() {
    assert!(parsed("delete id --force").flags.switch("force"));
    assert_eq!(parsed("update id --cpu-quota -1").flags.number::<i64>("cpu-quota").unwrap(), Some(-1));
    let c = parsed("exec -dt id ls -l --help -- x");
    assert_eq!(c.positionals, ["id", "ls", "-l", "--help", "--", "x"]);
    assert!(c.flags.switch("detach") && c.flags.switch("tty"));
    assert_eq!(parsed("ps id -o pid,cmd").positionals, ["id", "-o", "pid,cmd"]);
    for line in [
        "kill id KILL --all",
        "kill id --all KILL",
        "kill --all id KILL",
        "kill id KILL -a",
        "kill -a id KILL",
        "kill id KILL -all",
    ] {
        let c = parsed(line);
        assert!(c.flags.switch("all"), "{line}");
        assert_eq!(c.positionals, ["id", "KILL"], "{line}");
    }
    assert_eq!(parsed("kill id -9").positionals, ["id", "-9"]);
}

#[test]
fn a_double_dash_ends_flags() {
    assert_eq!(parsed("delete -- --force").positionals, ["--force"]);
    assert_eq!(parsed("exec -- id -d").positionals, ["id", "-d"]);
    assert!(matches!(call("delete -- -h"), Ok(Request::Call(_))));
}

#[test]
fn slices_accumulate_and_scalars_take_the_last() {
    let c = parsed("exec -e A=1,2 --env B=2 -env=C=3 -g 1 -g 2 --cwd /a --cwd /b id x");
    assert_eq!(c.flags.all("env").unwrap(), ["A=1,2", "B=2", "C=3"]);
    assert_eq!(c.flags.all("additional-gids").unwrap(), ["1", "2"]);
    assert_eq!(c.flags.path("cwd"), Some("/b".into()));
}

#[test]
fn globals_stand_before_the_command_and_may_be_repeated() {
    let c = parsed("--log a -root /r --log=b --systemd-cgroup -debug --log-format json state id");
    assert_eq!(c.globals.path("log"), Some("b".into()));
    assert_eq!(c.globals.path("root"), Some("/r".into()));
    assert!(c.globals.switch("systemd-cgroup") && c.globals.switch("debug"));
    assert!(call("state --root /r id").is_err());
}

#[test]
fn mistakes_have_the_words_that_others_look_for() {
    for (line, text) in [
        ("--root", "flag needs an argument: -root"),
        ("create --bundle", "flag needs an argument: -bundle"),
        ("create -b", "flag needs an argument: -b"),
        ("create --nope id", "flag provided but not defined: -nope"),
        ("create -x id", "flag provided but not defined: -x"),
        ("create -dz id", "flag provided but not defined: -d"),
        ("start", "wherry: \"start\" requires exactly 1 argument(s)"),
        ("start a b", "wherry: \"start\" requires exactly 1 argument(s)"),
        ("exec", "wherry: \"exec\" requires a minimum of 1 argument(s)"),
        ("kill", "wherry: \"kill\" requires a minimum of 1 argument(s)"),
        ("kill a b c", "wherry: \"kill\" requires a maximum of 2 argument(s)"),
        ("checkpoint --help", "No help topic for 'checkpoint': not a command of wherry"),
        ("restore --lsm-mount-context", "No help topic for 'restore': not a command of wherry"),
        ("help restore", "No help topic for 'restore': not a command of wherry"),
        ("features --no-help=x", "flag provided but not defined: -no-help"),
    ] {
        assert_eq!(call(line).unwrap_err().message, text, "{line}");
    }
}

#[test]
fn help_and_version_are_found_everywhere() {
    for line in ["", "help", "h", "--help", "-h", "-help", "--root /x --help"] {
        assert!(matches!(call(line), Ok(Request::Help(None))), "{line}");
    }
    for line in ["help run", "h run", "run --help", "run -h", "run -d id --help", "run -help"] {
        assert!(matches!(call(line), Ok(Request::Help(Some(c))) if c.name == "run"), "{line}");
    }
    for line in ["--version", "-v", "-V", "-version"] {
        assert!(matches!(call(line), Ok(Request::Version)), "{line}");
    }
}

#[test]
fn numbers_out_of_range_are_refused() {
    for n in ["-1", "4294967296", "x", "1.5"] {
        let e = parsed(&format!("create --preserve-fds {n} id")).flags.number::<u32>("preserve-fds").unwrap_err();
        assert_eq!(e.message, format!("invalid value {n:?} for flag -preserve-fds: not an integer in range"));
    }
}

#[test]
fn a_value_that_is_no_utf8_is_kept_for_paths_only() {
    let bad = OsString::from(OsStr::from_bytes(b"/\xff"));
    let words = ["run".into(), "--bundle".into(), bad.clone(), "id".into()];
    let Ok(Request::Call(c)) = parse(&words) else { panic!("not parsed") };
    assert_eq!(c.flags.path("bundle"), Some(bad.into()));
    assert!(c.flags.text("bundle").is_err());
}

#[test]
fn the_log_is_found_before_anything_is_judged() {
    let scan = |line: &str, name: &str| {
        let words: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
        scan_globals(&words, name).map(|v| v.to_string_lossy().into_owned())
    };
    assert_eq!(scan("--nope --log /l --log-format json x", "log").as_deref(), Some("/l"));
    assert_eq!(scan("--log /a -log=/b create --log /c", "log").as_deref(), Some("/b"));
    assert_eq!(scan("--root --log --log /a x", "log").as_deref(), Some("/a"));
    assert_eq!(scan("--debug x", "debug").as_deref(), Some("true"));
    assert_eq!(scan("exec id --log /c", "log"), None);
}
