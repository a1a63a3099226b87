//! Chat's protocol, both ways: callbacks verified and read, REST calls made and their answers
//! understood. Nothing here stores, paces or retries: that is the callers' part.
//!
//! The provider's pages are named by short keys wherever a constant or a rule comes from one:
//!
//! | key | page |
//! | --- | --- |
//! | `wh-overview` | <https://trtc.io/document/34354> |
//! | `wh-config` | <https://cloud.tencent.com/document/product/269/32431> |
//! | `cmd-list` | <https://trtc.io/document/34355> |
//! | `after-msg` | <https://trtc.io/document/34375> |
//! | `recall-cb` | <https://cloud.tencent.com/document/product/269/73141> |
//! | `overlimit` | <https://trtc.io/document/60256> |
//! | `formats` | <https://www.tencentcloud.com/document/product/1047/33527> |
//! | `rest-intro` | <https://www.tencentcloud.com/document/product/1047/34620> |
//! | `errors` | <https://trtc.io/document/34348> |
//! | `recall` | <https://cloud.tencent.com/document/product/269/12341> |
//! | `history` | <https://trtc.io/document/34971> |
//! | `limits` | <https://trtc.io/document/34381> |
//! | `send-msg` | <https://www.tencentcloud.com/document/product/1047/34959> |

pub mod client;
pub mod error;
pub mod region;
pub mod usersig;
pub mod verify;
pub mod wire;
