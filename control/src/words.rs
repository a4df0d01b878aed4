//! The machines' states and reasons in words, for the inventory and the log.

use fc::fip::LostReason;
use fc::vn_port::{GoneReason, LogoutReason, Phase, PortPhase};
use fc::vn2vn::{LossReason, ReleaseReason};

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

pub(crate) const fn port_phase(phase: PortPhase) -> &'static str {
    match phase {
        PortPhase::Waiting => "waiting to log in again",
        PortPhase::Linking => "FLOGI sent",
        PortPhase::AwaitingLogin => "its PLOGI is awaited, as its WWPN is higher",
        PortPhase::LoggingIn => "PLOGI sent",
        PortPhase::ProcessLogin => "logged in, PRLI sent",
        PortPhase::ReadingTimeouts => "logged in, RTV sent",
        PortPhase::Ready | PortPhase::Verifying => "a target that we are logged in to",
        PortPhase::NoTarget => "logged in, but no target",
    }
}

pub(crate) const fn released(reason: ReleaseReason) -> &'static str {
    match reason {
        ReleaseReason::LinkDown => "the link is down",
        ReleaseReason::Conflict => "another port has it",
        ReleaseReason::OtherVlan => "there are neighbours on another VLAN",
    }
}

pub(crate) const fn neighbour_lost(reason: LossReason) -> &'static str {
    match reason {
        LossReason::Silent => "its beacons stay out",
        LossReason::Replaced => "another port has its N_Port_ID",
        LossReason::Moved => "it has another N_Port_ID",
    }
}

pub(crate) const fn gone(reason: GoneReason) -> &'static str {
    match reason {
        GoneReason::Unlisted => "the name server does not list it any more",
        GoneReason::NoNeighbour => "it is not heard any more, or as another one",
        GoneReason::LoggedOut => "it logged out",
        GoneReason::ProcessLoggedOut => "it ended its process login",
        GoneReason::LoggedInAgain => "it logged in anew",
        GoneReason::VerificationFailed => "it has forgotten the login",
        GoneReason::Unresponsive => "it answers no aborts",
        GoneReason::Moved => "it has moved to another N_Port_ID",
        GoneReason::Offline => "our own N_Port_ID is gone",
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
        LogoutReason::LinkLost => "the link, the FCF or the N_Port_ID was lost".into(),
        LogoutReason::Shutdown => "shutting down".into(),
        LogoutReason::ServiceFailed(failure) => format!("a service of the fabric failed: {failure}"),
    }
}
