/* The driver vpcd behind a cable that can be pulled, as a reader with one slot. The files named by two variables of the
 * environment are the switches: while $CABLE is missing, every call fails as for a USB reader that is gone; while
 * $CONTACTS is missing, the card is there but no exchange with it succeeds. */
#include <dlfcn.h>
#include <stdlib.h>
#include <unistd.h>

#include <ifdhandler.h>

#define FORWARD(name) ((__typeof__(&name))dlsym(driver(), #name))
#define NEED(variable, failure)                                                                                        \
    do {                                                                                                               \
        if (access(getenv(variable), F_OK) != 0)                                                                       \
            return failure;                                                                                            \
    } while (0)
#define NEED_CABLE NEED("CABLE", IFD_NO_SUCH_DEVICE)

static void *driver(void)
{
    static void *handle;
    if (!handle)
        handle = dlopen(getenv("DRIVER"), RTLD_NOW | RTLD_LOCAL);
    if (!handle)
        abort();
    return handle;
}

RESPONSECODE IFDHCreateChannelByName(DWORD Lun, LPSTR DeviceName)
{
    NEED_CABLE;
    return FORWARD(IFDHCreateChannelByName)(Lun, DeviceName);
}

RESPONSECODE IFDHCreateChannel(DWORD Lun, DWORD Channel)
{
    NEED_CABLE;
    return FORWARD(IFDHCreateChannel)(Lun, Channel);
}

RESPONSECODE IFDHCloseChannel(DWORD Lun)
{
    return FORWARD(IFDHCloseChannel)(Lun);
}

RESPONSECODE IFDHGetCapabilities(DWORD Lun, DWORD Tag, PDWORD Length, PUCHAR Value)
{
    if (Tag == TAG_IFD_SLOTS_NUMBER) {
        *Length = 1;
        *Value = 1;
        return IFD_SUCCESS;
    }
    return FORWARD(IFDHGetCapabilities)(Lun, Tag, Length, Value);
}

RESPONSECODE IFDHSetCapabilities(DWORD Lun, DWORD Tag, DWORD Length, PUCHAR Value)
{
    return FORWARD(IFDHSetCapabilities)(Lun, Tag, Length, Value);
}

RESPONSECODE IFDHSetProtocolParameters(DWORD Lun, DWORD Protocol, UCHAR Flags, UCHAR PTS1, UCHAR PTS2, UCHAR PTS3)
{
    NEED_CABLE;
    return FORWARD(IFDHSetProtocolParameters)(Lun, Protocol, Flags, PTS1, PTS2, PTS3);
}

RESPONSECODE IFDHPowerICC(DWORD Lun, DWORD Action, PUCHAR Atr, PDWORD AtrLength)
{
    NEED_CABLE;
    return FORWARD(IFDHPowerICC)(Lun, Action, Atr, AtrLength);
}

RESPONSECODE IFDHTransmitToICC(DWORD Lun, SCARD_IO_HEADER SendPci, PUCHAR TxBuffer, DWORD TxLength, PUCHAR RxBuffer,
                               PDWORD RxLength, PSCARD_IO_HEADER RecvPci)
{
    NEED_CABLE;
    NEED("CONTACTS", IFD_COMMUNICATION_ERROR);
    return FORWARD(IFDHTransmitToICC)(Lun, SendPci, TxBuffer, TxLength, RxBuffer, RxLength, RecvPci);
}

RESPONSECODE IFDHControl(DWORD Lun, DWORD dwControlCode, PUCHAR TxBuffer, DWORD TxLength, PUCHAR RxBuffer,
                         DWORD RxLength, LPDWORD pdwBytesReturned)
{
    NEED_CABLE;
    return FORWARD(IFDHControl)(Lun, dwControlCode, TxBuffer, TxLength, RxBuffer, RxLength, pdwBytesReturned);
}

RESPONSECODE IFDHICCPresence(DWORD Lun)
{
    NEED_CABLE;
    return FORWARD(IFDHICCPresence)(Lun);
}
