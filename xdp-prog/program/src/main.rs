//! Steers FCoE and FIP frames into an AF_XDP socket of the queue they came by; all else goes on to the kernel.
//!
//! It looks at what costs nothing to know: EtherType, destination MAC, length, and in the OX_ID the number of the core
//! that the frame is for. Whether a frame is sound is the poll core's business.

#![no_std]
#![no_main]

use aya_ebpf::bindings::xdp_action::XDP_PASS;
use aya_ebpf::btf_maps::{HashMap, PerCpuArray, XskMap};
use aya_ebpf::macros::{btf_map, xdp};
use aya_ebpf::programs::XdpContext;
use xdp_prog::{
    CONTROL_SLOT, ETHERNET_LEN, FCOE, FIP, MAX_MACS, MAX_QUEUES, MIN_FCOE_LEN, MIN_FIP_LEN, Mac, MacValue,
    OX_ID_LOW_OFFSET, SLOTS_PER_QUEUE, TAG_LEN, VLAN, Verdict, slot,
};

#[btf_map]
static SOCKETS: XskMap<{ MAX_QUEUES * SLOTS_PER_QUEUE }> = XskMap::new();

#[btf_map]
static MACS: HashMap<Mac, MacValue, MAX_MACS> = HashMap::new();

#[btf_map]
static COUNTERS: PerCpuArray<u64, { Verdict::ALL.len() }> = PerCpuArray::new();

/// # Safety
/// Made of bytes only: any bytes make one, at any address.
unsafe trait Bytes {}

#[repr(C)]
struct Ethernet {
    destination: Mac,
    source: Mac,
    ethertype: [u8; 2],
}

// SAFETY: arrays of bytes.
unsafe impl Bytes for Ethernet {}

/// What an 802.1Q tag adds to [`Ethernet`], whose own EtherType is then the tag's.
#[repr(C)]
struct Tag {
    control: [u8; 2],
    ethertype: [u8; 2],
}

// SAFETY: arrays of bytes.
unsafe impl Bytes for Tag {}

/// The low byte of an OX_ID.
#[repr(C)]
struct OxIdLow(u8);

// SAFETY: a byte.
unsafe impl Bytes for OxIdLow {}

/// No helper that the program calls asks for the GPL.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 18] = *b"MIT OR Apache-2.0\0";

/// The program's entry: one call a frame.
#[xdp]
pub fn xfcoe(ctx: XdpContext) -> u32 {
    let (verdict, action) = match judge(&ctx) {
        // Without a socket there, the redirect falls back to the action given.
        Ok((ours, low_bits)) => {
            match SOCKETS.redirect(slot(ctx.rx_queue_index(), low_bits), XDP_PASS.into()) {
                Ok(redirect) => (ours, redirect),
                Err(pass) => (Verdict::NoSocket, pass),
            }
        }
        Err(theirs) => (theirs, XDP_PASS),
    };
    count(verdict);
    action
}

/// Whether a frame is for us, and for which slot of its queue.
#[inline(always)]
fn judge(ctx: &XdpContext) -> Result<(Verdict, usize), Verdict> {
    let Some((destination, header_len, ethertype)) = parse_ethernet(ctx) else { return Err(Verdict::Other) };
    match ethertype {
        FIP if !reaches(ctx, header_len + MIN_FIP_LEN) => Err(Verdict::Malformed),
        FIP => Ok((Verdict::Fip, CONTROL_SLOT)),
        FCOE if MACS.get_ptr(destination).is_none() => Err(Verdict::ForeignMac),
        FCOE if !reaches(ctx, header_len + MIN_FCOE_LEN) => Err(Verdict::Malformed),
        FCOE => {
            let low: &OxIdLow = read(ctx, header_len + OX_ID_LOW_OFFSET).ok_or(Verdict::Malformed)?;
            Ok((Verdict::Fcoe, low.0 as usize % SLOTS_PER_QUEUE))
        }
        _ => Err(Verdict::Other),
    }
}

/// Destination, bytes of the header, and EtherType: the one behind the tag, if there is a tag. A second tag is
/// an EtherType that we don't serve.
#[inline(always)]
fn parse_ethernet(ctx: &XdpContext) -> Option<(&Mac, usize, u16)> {
    let header: &Ethernet = read(ctx, 0)?;
    match u16::from_be_bytes(header.ethertype) {
        VLAN => {
            let tag: &Tag = read(ctx, ETHERNET_LEN)?;
            Some((&header.destination, ETHERNET_LEN + TAG_LEN, u16::from_be_bytes(tag.ethertype)))
        }
        untagged => Some((&header.destination, ETHERNET_LEN, untagged)),
    }
}

/// The `T` at `offset`, unless the frame ends before.
#[inline(always)]
fn read<T: Bytes>(ctx: &XdpContext, offset: usize) -> Option<&T> {
    // SAFETY: the bytes are within the frame, which stays where it is and as it is while the program runs; any
    // bytes make a `T`, wherever they are. The kernel proves the bounds again when it loads the program.
    reaches(ctx, offset + size_of::<T>()).then(|| unsafe { &*((ctx.data() + offset) as *const T) })
}

/// Whether the frame has `len` bytes or more.
#[inline(always)]
fn reaches(ctx: &XdpContext, len: usize) -> bool {
    ctx.data() + len <= ctx.data_end()
}

#[inline(always)]
fn count(verdict: Verdict) {
    if let Some(counter) = COUNTERS.get_ptr_mut(verdict as u32) {
        // SAFETY: the counter is this CPU's own, and the program isn't interrupted by itself there.
        unsafe { *counter += 1 };
    }
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    loop {}
}
