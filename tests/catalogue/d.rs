//! D: STARTTLS as the session sees it. What needs sockets stands in `tests/boundary.rs`.

use crate::case::Case;

#[test]
fn d01_commands_behind_starttls() {
    for behind in ["EHLO commandinjectiontester\r\n", "\r\n", "\0"] {
        Case::open()
            .say_at_once(["STARTTLS\r\n", behind].concat(), "554 5.5.1, closed")
            .stored(&[]);
    }
}

#[test]
fn d02_half_a_command_behind_starttls() {
    for behind in ["RSET\r\n", "MAIL FROM:<inj@x>\r\n", "N"] {
        Case::transaction()
            .say_at_once(["STARTTLS\r\n", behind].concat(), "554 5.5.1, closed")
            .stored(&[]);
    }
}

#[test]
fn d03_what_was_said_before_tls_is_forgotten() {
    Case::transaction()
        .say(b"STARTTLS\r\n", "220")
        .say(b"RCPT TO:<u1@ours.test>\r\n", "503")
        .say(b"DATA\r\n", "503")
        .say(b"MAIL FROM:<s@x.example>\r\n", "503")
        .say(b"EHLO t.example\r\n", "250")
        .say(b"RCPT TO:<u1@ours.test>\r\n", "503")
        .verify()
        .stored(&[]);
}

#[test]
fn d04_starttls_where_it_has_no_place() {
    Case::connect().say(b"STARTTLS\r\n", "503").stored(&[]);
    Case::open()
        .say(b"STARTTLS foo\r\n", "501")
        .say(b"STARTTLS\r\n", "220")
        .say(b"STARTTLS\r\n", "503")
        .say(b"EHLO t.example\r\n", "250")
        .say(b"STARTTLS\r\n", "503")
        .verify()
        .stored(&[]);
}
