//! `linux.resources` as data; also the document of `update --resources`.
//! runtime-spec config-linux.md#control-groups.

use super::model::Str;
use super::read::{Map, object};

object! {
    /// `linux.resources`.
    Resources<'a> {
        /// Device access rules, the last that fits wins.
        devices: Vec<DeviceRule<'a>> = "devices",
        /// Memory limits.
        memory: Option<Memory> = "memory",
        /// CPU limits.
        cpu: Option<Cpu<'a>> = "cpu",
        /// Number of tasks.
        pids: Option<Pids> = "pids",
        /// Block I/O.
        block_io: Option<BlockIo> = "blockIO",
        /// Huge pages.
        hugepage_limits: Vec<HugepageLimit<'a>> = "hugepageLimits",
        /// Network classes and priorities (v1 only).
        network: Option<Network<'a>> = "network",
        /// RDMA by device.
        rdma: Map<'a, Rdma> = "rdma",
        /// v2 files by name.
        unified: Map<'a, Str<'a>> = "unified",
    }
}

object! {
    /// One device rule.
    DeviceRule<'a> {
        /// Allow or deny.
        allow: bool = "allow",
        /// `a`, `c` or `b`; absent: `a`.
        kind: Option<Str<'a>> = "type",
        /// Absent or -1: all.
        major: Option<i64> = "major",
        /// Absent or -1: all.
        minor: Option<i64> = "minor",
        /// Of `r`, `w`, `m`; absent: all three.
        access: Option<Str<'a>> = "access",
    }
}

object! {
    /// Bytes; -1 is unlimited.
    Memory {
        /// Hard limit.
        limit: Option<i64> = "limit",
        /// Soft limit.
        reservation: Option<i64> = "reservation",
        /// Memory plus swap.
        swap: Option<i64> = "swap",
        /// Deprecated.
        kernel: Option<i64> = "kernel",
        /// Deprecated.
        kernel_tcp: Option<i64> = "kernelTCP",
        /// 0..=100, v1 only.
        swappiness: Option<u64> = "swappiness",
        /// v1 only.
        disable_oom_killer: Option<bool> = "disableOOMKiller",
        /// v1 only.
        use_hierarchy: Option<bool> = "useHierarchy",
        /// Refuse an update below the present usage.
        check_before_update: Option<bool> = "checkBeforeUpdate",
    }
}

object! {
    /// CPU time.
    Cpu<'a> {
        /// Relative weight, 2..=262144.
        shares: Option<u64> = "shares",
        /// Microseconds per period; at most 0 is unlimited.
        quota: Option<i64> = "quota",
        /// Microseconds a period may exceed its quota by.
        burst: Option<u64> = "burst",
        /// Microseconds.
        period: Option<u64> = "period",
        /// Microseconds, v1 only.
        realtime_runtime: Option<i64> = "realtimeRuntime",
        /// Microseconds, v1 only.
        realtime_period: Option<u64> = "realtimePeriod",
        /// CPU list.
        cpus: Option<Str<'a>> = "cpus",
        /// Node list.
        mems: Option<Str<'a>> = "mems",
        /// 0 or 1.
        idle: Option<i64> = "idle",
    }
}

object! {
    /// Number of tasks.
    Pids {
        /// -1 is unlimited, 0 is honoured.
        limit: Option<i64> = "limit",
    }
}

object! {
    /// Block I/O.
    BlockIo {
        /// 10..=1000.
        weight: Option<u16> = "weight",
        /// 10..=1000, v1 only.
        leaf_weight: Option<u16> = "leafWeight",
        /// Per device weights.
        weight_device: Vec<WeightDevice> = "weightDevice",
        /// Bytes per second.
        throttle_read_bps: Vec<ThrottleDevice> = "throttleReadBpsDevice",
        /// Bytes per second.
        throttle_write_bps: Vec<ThrottleDevice> = "throttleWriteBpsDevice",
        /// Operations per second.
        throttle_read_iops: Vec<ThrottleDevice> = "throttleReadIOPSDevice",
        /// Operations per second.
        throttle_write_iops: Vec<ThrottleDevice> = "throttleWriteIOPSDevice",
    }
}

object! {
    /// Weight of one block device.
    WeightDevice {
        /// Major number.
        major: i64 = "major",
        /// Minor number.
        minor: i64 = "minor",
        /// 10..=1000.
        weight: Option<u16> = "weight",
        /// 10..=1000, v1 only.
        leaf_weight: Option<u16> = "leafWeight",
    }
}

object! {
    /// Rate limit of one block device.
    ThrottleDevice {
        /// Major number.
        major: i64 = "major",
        /// Minor number.
        minor: i64 = "minor",
        /// Bytes or operations per second.
        rate: u64 = "rate",
    }
}

object! {
    /// Limit of one huge page size.
    HugepageLimit<'a> {
        /// E.g. `2MB`.
        page_size: Str<'a> = "pageSize",
        /// Bytes.
        limit: u64 = "limit",
    }
}

object! {
    /// v1 network controllers.
    Network<'a> {
        /// Class id of packets.
        class_id: Option<u32> = "classID",
        /// Priority by interface.
        priorities: Vec<InterfacePriority<'a>> = "priorities",
    }
}

object! {
    /// Priority of one interface.
    InterfacePriority<'a> {
        /// Interface name.
        name: Str<'a> = "name",
        /// Priority.
        priority: u32 = "priority",
    }
}

object! {
    /// RDMA limits of one device.
    Rdma {
        /// Handles.
        hca_handles: Option<u32> = "hcaHandles",
        /// Objects.
        hca_objects: Option<u32> = "hcaObjects",
    }
}
