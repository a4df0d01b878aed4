//! The machines' states and reasons in words, for the inventory and the log.

use fc::fip::LostReason;
use fc::vn_port::{GoneReason, LogoutReason, Phase};

pub(crate) const fn phase(phase: Phase) -> &'static str {
    match phase {
        Phase::Offline => "offline",
        Phase::LoggingIn => "logging in",
        Phase::Waiting => "waiting to log in again",
        Phase::Registering => "registering with the name server",
        Phase::Online => "online",
        Phase::LoggingOut => "logging out",
    }
}

pub(crate) const fn gone(reason: GoneReason) -> &'static str {
    match reason {
        GoneReason::Unlisted => "the name server does not list it any more",
        GoneReason::LoggedOut => "it logged out",
        GoneReason::ProcessLoggedOut => "it ended its process login",
        GoneReason::LoggedInAgain => "it logged in anew",
        GoneReason::VerificationFailed => "it has forgotten the login",
        GoneReason::Moved => "it has moved to another N_Port_ID",
        GoneReason::FabricLoggedOut => "the login to the fabric is over",
        GoneReason::Shutdown => "logged out",
    }
}

pub(crate) const fn lost(reason: LostReason) -> &'static str {
    match reason {
        LostReason::LinkDown => "the link is down",
        LostReason::AdvertisementsMissed => "its advertisements stay out",
        LostReason::ClearVirtualLinks => "it cleared all virtual links",
        LostReason::Changed => "it came back as another one",
        LostReason::LoginFailed => "the login with it failed",
    }
}

pub(crate) fn logout(reason: LogoutReason) -> String {
    match reason {
        LogoutReason::LinkLost => "the link or the FCF was lost".into(),
        LogoutReason::Shutdown => "shutting down".into(),
        LogoutReason::ServiceFailed(failure) => format!("a service of the fabric failed: {failure}"),
    }
}
