//! What the settings come to under pressure: those of calm times, as far as the level leaves them.

#![forbid(unsafe_code)]

use super::Config;
use crate::policy::pressure::Pressure;
use crate::policy::{admission, clients};
use crate::settings::{Bytes, Span};
use crate::smtp;
use std::time::Duration;

impl Config {
    /// What one session may do. EHLO goes on to show the largest message of calm times: a sender that saw less would give
    /// up for good.
    #[must_use]
    pub fn limits_under(&self, level: Pressure) -> smtp::Limits {
        let by = self.pressure.tightening(level);
        let shorter = |span: Span| Span(span.0.min(by.timeout_max));
        let smtp = self.smtp.clone();
        smtp::Limits {
            errors_max: smtp.errors_max.min(by.errors_max),
            junk_commands_max: smtp.junk_commands_max.min(by.junk_commands_max),
            command_timeout: shorter(smtp.command_timeout),
            data_timeout: shorter(smtp.data_timeout),
            message_bytes_max: Bytes(smtp.message_bytes_max.0.min(by.message_bytes_max)),
            ..smtp
        }
    }

    /// How long a TLS handshake may take.
    #[must_use]
    pub fn handshake_timeout_under(&self, level: Pressure) -> Duration {
        let by = self.pressure.tightening(level);
        self.tls.handshake_timeout.0.min(by.timeout_max)
    }

    /// Who may connect.
    #[must_use]
    pub fn admission_under(&self, level: Pressure) -> admission::Rules {
        self.admission.tightened(&self.pressure.tightening(level))
    }

    /// What one client may do in a minute.
    #[must_use]
    pub fn clients_under(&self, level: Pressure) -> clients::Rules {
        self.clients.tightened(&self.pressure.tightening(level))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ladder_is_what_the_manual_says() {
        let config = Config::default();
        let seen = Pressure::ALL.map(|level| {
            let limits = config.limits_under(level);
            (
                limits.command_timeout.0.as_secs(),
                limits.data_timeout.0.as_secs(),
                limits.errors_max,
                limits.junk_commands_max,
                limits.message_bytes_max.0 >> 10,
                config.handshake_timeout_under(level).as_secs(),
                config.admission_under(level).connections_per_client_max,
                config.clients_under(level).messages_per_minute_max,
            )
        });
        assert_eq!(
            seen,
            [
                (300, 300, 20, 100, 25 << 10, 30, 50, 6_000),
                (60, 60, 10, 50, 25 << 10, 30, 25, 3_000),
                (10, 10, 3, 10, 256, 10, 5, 600),
                (10, 10, 1, 3, 256, 10, 5, 600),
            ]
        );
        assert_eq!(config.limits_under(Pressure::Normal), config.smtp);
    }

    #[test]
    fn pressure_loosens_nothing() {
        let mut config = Config::default();
        config.smtp.command_timeout = Span::secs(5);
        config.smtp.errors_max = 2;
        config.smtp.message_bytes_max = Bytes::kib(64);
        config.admission.connections_per_client_max = 0;
        for level in Pressure::ALL {
            let limits = config.limits_under(level);
            assert_eq!(limits.command_timeout, Span::secs(5));
            assert!(limits.errors_max <= 2);
            assert_eq!(limits.message_bytes_max, Bytes::kib(64));
            assert_eq!(config.admission_under(level).connections_per_client_max, 0);
        }
    }
}
