"""Readers of data sets on disk, one module a format: reader(path) -> Dataset."""

from .ccvid import read_ccvid
from .dukemtmc_videoreid import read_dukemtmc_videoreid
from .folder import read_folder
from .ilidsvid import read_ilidsvid
from .lsvid import read_lsvid
from .mars import read_mars
from .pack import read_pack
from .prid2011 import read_prid2011
from .svreid import read_svreid, read_svreid_cc, read_svreid_plus

FORMATS = {
    "folder": read_folder,
    "mars": read_mars,
    "ilidsvid": read_ilidsvid,
    "prid2011": read_prid2011,
    "lsvid": read_lsvid,
    "ccvid": read_ccvid,
    "dukemtmc-videoreid": read_dukemtmc_videoreid,
    "svreid": read_svreid,
    "svreid_cc": read_svreid_cc,
    "svreid_plus": read_svreid_plus,
    "pack": read_pack,
}
