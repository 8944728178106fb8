/* Keys in PEM, made for test_public_key.c: those that are taken, by their
 * algorithm; and what is refused, with a word of the reason. */
static const struct {
	const char *alg, *pem;
} good_pem[] = {
	{ "RS256",
	    "-----BEGIN PUBLIC KEY-----\n"
	    "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAmPE10l9VcgMwGFDFo4/V\n"
	    "R5I6c2mU47+RGmHb4i5EFYuul7qU0O2oL49tBVhO+Ko4kidmWB4nocCKamPsJO3m\n"
	    "pGtMskJKI9WWIhe+rdvElsuOgZc+C+zXsDiY0ZD569rMDLHinGWM2hSV5gr1k70E\n"
	    "zw/WMPHynQ2plT9I8aCfdrWhcLM4OSYwWfKMEF0fsXwjkMGSz9OslK8PId22bK1K\n"
	    "Jo0Rbs4XOPfZPZwXJBHiC49rDVSbbwNnWhYAo1oJmVDYNvZ1zIHnTvXo4l2UDtkE\n"
	    "dZUxmF1dncn4GBjoEYkvkCvSPwgkEosvMwxcf9Cmo6RQZRMnDiaeDTfyp03kUua0\n"
	    "OQIDAQAB\n"
	    "-----END PUBLIC KEY-----\n" },
	{ "RS256",
	    "-----BEGIN PUBLIC KEY-----\n"
	    "MIICIjANBgkqhkiG9w0BAQEFAAOCAg8AMIICCgKCAgEA/IkbSmpQ30201mo6R0aa\n"
	    "TYzbMF/dLhYJbjaqsNG8UtkjDZd+4iVxWUcgdx+MqBgRZtIodnL98gIqlvsaFKD5\n"
	    "538bEDzfFYKw6rR30mQVR5xl3J9QP2Ovg70FYeYhHHDPSZUjmcSq6sE33Hb7Dxej\n"
	    "AH5iqgod+f14nGU5OCsFN+Za/7IpdjGpkvDOWDUFxq8HWNVWPass0x7jFRKIYsM6\n"
	    "T7d061JI20CvchWDcNJpqaWuZY8z/juJC5P0SLOlqjyBT0Jty7OU+za7LUIPD4gI\n"
	    "CxCj1rKqBeEasnFZRXlegilFGr2B8dae1hf16DfXCCD+EZpy0XTJ32rMARzdlHQD\n"
	    "G38mFEuYKJ/NWaVKe7H+4I9XEkJCUFHBzNF/msrgH1BXygITXpKx0/KO3g16w7rq\n"
	    "nhPe74arEDHQ9kbh9AoJfJdr9GxpfSyvgu7qy+Im6HVVV5D4LsHT/P8qOvTUawoY\n"
	    "6IMOB7weOY8QEr1KzvrsvTib5Lz8SbZKCHLmzDq6vO0gV+4FzeAJAsd+v/IGhnNH\n"
	    "IUzdIFWTDW6vFPRzPz59G/vHouogsvFMlC4FMZrLXHQnP5jid0y9h61ckKlYdAPk\n"
	    "MOxmp4eV52HRdzGvEFBr8u/G+HcYbXawfoge0WKuLrFUfxUFJDS5td+ed2mxD0IF\n"
	    "tJB6cMMQEvA3tkzkIow4+ykCAwEAAQ==\n"
	    "-----END PUBLIC KEY-----\n" },
	{ "RS256",
	    "-----BEGIN PUBLIC KEY-----\n"
	    "MIIBmTANBgkqhkiG9w0BAQEFAAOCAYYAMIIBgQKCAXgB+eQO2VPuJh2HzsMfcpar\n"
	    "eWH9kl050KiaLvgPWO6FcfSZjXxAk/beomiqhyYHZ51gUJFKnTOgHDU8Yxzf1D83\n"
	    "EgAznQaHOfqdHeKgXRWKL/LuTkUZ+ZGciV/Xsya5TH+RGLsWAA9JyBo1jKANdZhd\n"
	    "mclDCVcNwZUcJEL5KYyzpXDM7DE1cYEK/BMtDRE9sX0wy8l9D+95KGaDaIaiYM0L\n"
	    "e0UUXBqBaCxk5QytZiN6BGXn5CNkcvGjjyxuyMxBaaOuOit/3+AYk/Ou0LbHrBSR\n"
	    "3viDNOZHy4905ppdDdJ6Zb1iiIGtG3Lbp6vhwp4ajvTzQeB6g/c/Ftv0qLKwxDEt\n"
	    "ICA2JvP+OcBRkIj1kPu9EZwcqvdeh2btiNr0AWtAE+8lSwxOAQxHWUgsnLxDQ1zF\n"
	    "Lq4Fz5bQzF/UwowufCaEfwMWkJ47u+nqqJSMiTthhnYmu329LRya8BU+fComosC9\n"
	    "OxKH//Ut311hZJnJ4lp2Ba7G8CRb2G1BAgMBAAE=\n"
	    "-----END PUBLIC KEY-----\n" },
	{ "ES256",
	    "-----BEGIN PUBLIC KEY-----\n"
	    "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE75mc4WR72LsKPD+UB+dyqpyUDH02\n"
	    "deECp/xvh+fKCQWO9x2ftIV2tOmys8SsYburbGHjrZF7CaYVLVYVw0VVaQ==\n"
	    "-----END PUBLIC KEY-----\n" },
	{ "EdDSA/Ed25519",
	    "-----BEGIN PUBLIC KEY-----\n"
	    "MCowBQYDK2VwAyEASTD6bL/sScRwkOvXEchKmRwLZfqK4VkR5ZhEc5CVkEY=\n"
	    "-----END PUBLIC KEY-----\n" },
};

static const struct {
	const char *what, *why, *pem;
} bad_pem[] = {
	{ "1024 bits", "is of RSA",
	    "-----BEGIN PUBLIC KEY-----\n"
	    "MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQCaJviJOHA4ABSeJZtdWMcF+XnQ\n"
	    "SvR6691Zeh7P/PAP7Lke6eXv4J8Hzv4qH3J9g0lYIst39N4sCJrqZCmxSR4kMZK3\n"
	    "BEJZQFJ45LmNR4f5O8pE64YHJuJc/VapJgdrPja7IxP1WwYljn4m82qEg/i4My3T\n"
	    "MToLmWXNpsb9vWhRZwIDAQAB\n"
	    "-----END PUBLIC KEY-----\n" },
	{ "512 bits", "is of RSA",
	    "-----BEGIN PUBLIC KEY-----\n"
	    "MFwwDQYJKoZIhvcNAQEBBQADSwAwSAJBANgQ1g6nKZG56MFHQ3q+xTkAfRA01ybI\n"
	    "a5w6I83mept1/DlHJJ/C0KF7jyq1NFHQE1Z19q0yW1XdeFcpdjoSkX0CAwEAAQ==\n"
	    "-----END PUBLIC KEY-----\n" },
	{ "2047 bits", "is of RSA",
	    "-----BEGIN PUBLIC KEY-----\n"
	    "MIIBITANBgkqhkiG9w0BAQEFAAOCAQ4AMIIBCQKCAQBf734Khs4D+RpPRPmmURRF\n"
	    "ufNjXPiMQivMoqkrA6VswQV6QLIhiCh+jFxxX4x0/B4n6eBvWbROku/93uqoQrwZ\n"
	    "eW90rfr1VJaYivP705Yw1pyQEe8la635p+ZSm8526fR3IW6e56RjCZc/eYYmsc/8\n"
	    "Bw1xCSCFljT+PJyPK4VcHyiqylG5jGfCFb1Ej/JhSe2+TFzmZsFJTnaRsG9lVav+\n"
	    "uMmBevi+iDHyN+RazQLF4RY1PQNVH9j5osaORcoEx59vFbatLbOZf+OWOb56YFqR\n"
	    "MwaYocAJNJK2JGdxyEUAcGN3FAfo5yeJHrIBCakcJDnVq4tNFbQK66SkXv/MtXPZ\n"
	    "AgMBAAE=\n"
	    "-----END PUBLIC KEY-----\n" },
	{ "4097 bits", "is of RSA",
	    "-----BEGIN PUBLIC KEY-----\n"
	    "MIICIjANBgkqhkiG9w0BAQEFAAOCAg8AMIICCgKCAgEBq9DX+xKSYYVQ5A1UcS6m\n"
	    "s2Rx/eQfIp3Qaqi54CMbPhRykTW91wo50TPc13/xefLS5IuWYo88S+PsO5YFQnSj\n"
	    "6+2E6R7xMr8t4EABXOBkoRSF8RFbsv/xez9mXt7xBjfOgfwGnnpgloPOr0kViIVk\n"
	    "6IIWhY9zzO8DRvWhtLFW0a0zDBajgx0Dv5sr1sCBa+4G+S4jOZzOoJhTW2pDcXi6\n"
	    "ChA48LXpmNDu5N35ucKO6QcHIjXCj81/QHPBzSyB+YtSGQXVkcWy51oKzYvhRuQJ\n"
	    "kDD5cFg/nVL5DovslI9vkV/iGzfKGyn8mcbIDivIxhSye4RE0Y4xcEGH3a63hLKA\n"
	    "VK6tRLBTc5DlD88xyo51L98ezmFduaZELp59azd5NtU2JD01cCwe6h8mWXSnzJZv\n"
	    "RsaqfVUBAbgRm8o8ty7gKJ3GyRuScKwGrN9wMBcEydeNgrM1mYYEhxkm3r/biCWu\n"
	    "ViF5s32AbBC14M+rTOrvxNLTv20Ba65LW4RKcDTnf/5I0KbsF5VWWF6pl/NRdUoJ\n"
	    "zeXP7fpakZbwvWuIGuj24L0Pl3BEIY4Le9WNzbRrRGgGi1qz7kJluzFTdAkCliC/\n"
	    "DcOAhKA9k/1MgEwl1kr/3NE2eLyNQHg/CgcqmNI2Bt7837hcDdN+6RUx3sT03yqL\n"
	    "efyOgLNvDiKJI6XviO8CCQsCAwEAAQ==\n"
	    "-----END PUBLIC KEY-----\n" },
	{ "e = 3", "is of RSA",
	    "-----BEGIN PUBLIC KEY-----\n"
	    "MIIBIDANBgkqhkiG9w0BAQEFAAOCAQ0AMIIBCAKCAQEA/C5qWRzjvAwQdVyX9fVU\n"
	    "7YMjnvVLouFhn7mvUIR2i4xU3QulYmRnugShBUe0AbqFcMHcoXVrcomN1jy5VoXW\n"
	    "JAT81VVdrxBtuN7ggReaBx5RiuRSW0sbdTIcUpZr2MZ2VtBQzWdgE2eD/rF7/nuK\n"
	    "5G54NqS00Z7BKVXW8DlFM2vVGxgVqvcZ8/1oNzsprPGlfL0fWuKK9gRl9CmGGBia\n"
	    "9PPXT4K/Jo6gODboZXe9iR/3sQPfIyMeHuIBVSJAy6zQJJpFhF2+MCOpBpIvpLmp\n"
	    "xLdToe7wg2CFJ4nQWcblDfLlo4Y+H1JSZciwB+5Ngv6sq2KGzTZy1q4SuArtbaea\n"
	    "hwIBAw==\n"
	    "-----END PUBLIC KEY-----\n" },
	{ "e = 1", "is of RSA",
	    "-----BEGIN PUBLIC KEY-----\n"
	    "MIIBIDANBgkqhkiG9w0BAQEFAAOCAQ0AMIIBCAKCAQEA7ToyqGryV0iNlZwx/orU\n"
	    "oVbSpowC9LNCdCqAYx8mQqrc3tIEQ7MPZhEOLLY477rr2zHM0puxg+EVcCZrQrOH\n"
	    "Vc03iA4WrEGRomqgrgRPFXTwN6/GRNgqUxKJuvrlMWlgbOGTwi7vonmwLj2NzLHF\n"
	    "HQ66DqhHcKCHFub+w1O5c3ezTo7Ofp7lHZISgkyDyMso607S44lei2smPPpeZ+wy\n"
	    "akI0M1TyLSiC0aibN60Mm7bpUmpp2X6We2wY2YLR3OxTISqNm8F6kmJFO/SRLnom\n"
	    "6cdsYD/n6Pn2CiJzhUWclFxD/AUnFYUKAxrS1fHgWz4T+MEQ+zqCgVnJ0ilQ6yX4\n"
	    "oQIBAQ==\n"
	    "-----END PUBLIC KEY-----\n" },
	{ "an even e", "is of RSA",
	    "-----BEGIN PUBLIC KEY-----\n"
	    "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEA+4E5ITcWHBawD9e7Tsre\n"
	    "ooG2K7X4ZmSuZKFJ9eODi57VqUIqi8CDEX64bFeoEQChbqMwoaZtWLXRpMAeqIeu\n"
	    "Ihs1QRtycjuc70TA1T7k2lp5ienQg6TmKTCAOIn6YZd0jRGON4Fyige7qyf2BLgV\n"
	    "fQPtuSAJdYNAQB1o+/6XfFYEplZRzb3nR1jVDxtFQPQmLYrYwKwSfpOABc50chiI\n"
	    "/0o635k0s/9gwm56Qof1Pd1OFNVxoPCW2k/eu+zup7tkM6cVaC5flQwM5a9pQwuR\n"
	    "7SlUulz4HlTdHAUCxvApBTE9CicLtaQyz4bj5yYLD4c7IRTgaJ8n9SxEknTS6lln\n"
	    "mwIDAQAC\n"
	    "-----END PUBLIC KEY-----\n" },
	{ "a huge e", "is of RSA",
	    "-----BEGIN PUBLIC KEY-----\n"
	    "MIIBKDANBgkqhkiG9w0BAQEFAAOCARUAMIIBEAKCAQEA4bJIDFXYXo0ARg1pLtZU\n"
	    "EVtJFWE3xg6YTz6IXuHkN7f3Ne/mCNGAET6UC7RS0x4bjA0AM/wjJan4/dIIVDSB\n"
	    "VvY3pGhdOF4GQ2Pl2QDtawJyIY/cRN+W/yhUFCQvczsFdZ61WQuUrzpLBeGusVPW\n"
	    "nD4BqqaZSYrESCzHjviO3hCrqLmzgYV5fN7bkQlhgXf/111naapMXGAVoMzmDi7E\n"
	    "CinKhi1uRQX1QW6ZsOE+IT69quoAoB1hbxIa4+YDpjlmITvKf9ZE3i8N7Ggj+1yd\n"
	    "Vlj5Ler9S9AwZ5pE3SPEnK6iz2K6upWIELTr9Lbhxgqj1RC7BDLZDc1Xu32XOsTa\n"
	    "mwIJAQAAAAAAAAAB\n"
	    "-----END PUBLIC KEY-----\n" },
	{ "an even modulus", "even modulus",
	    "-----BEGIN PUBLIC KEY-----\n"
	    "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAhhT1BOjuZaEjqanagWsj\n"
	    "Ms/tlDuzeDp8u927m23i+x+gmNaRg1K8heRWVZy3CvXy1dWJH9Mp1lwLNbHeJQ57\n"
	    "NKSqB7SeY5fUuWJF00i/y88mQzeYfoNJBPwXNJi4fk4rU32RKMOp6Iljt1n1mLgc\n"
	    "ZuEMFn3Itur/t0tYm+SOngKoVMg0J76ascAjbknabm2Oh3j3QvUntcKV6Mk+FaCo\n"
	    "rjuZaHChMgudTeL4rUy1mqcFwi0/ZNvI0wqqr4GWOJKnZkZdKCTUWJwW+hQh0SnQ\n"
	    "Z0OgjwYXQg6UAURwK8a3ie+BNlrMP4ivWTNzbcyn8MmegLUkSkdn4fp5gj6yFXna\n"
	    "CgIDAQAB\n"
	    "-----END PUBLIC KEY-----\n" },
	{ "RSA-PSS", "is none of",
	    "-----BEGIN PUBLIC KEY-----\n"
	    "MIIBIDALBgkqhkiG9w0BAQoDggEPADCCAQoCggEBALSJItfBpiTcurWzczwa6RdD\n"
	    "+5+82Jw2shMPJ7LPKPZeQI/BRnlOySa8nijqvugGJhDorQGGp0pjqMfZ4BeJgZ+J\n"
	    "Atr85dn+gYDCtfHuuJ/xv45RqhHy1E3MNeg0dPqUEgDZNTRDh+57fUJkbz6bdo+u\n"
	    "QAHjiAy0AaBQYJgE0r4JoLVYZAz/8FSO+6RCc44Ld9X4YMNgag3rGtvOXfWi2Hlc\n"
	    "V1MroxpJ3SISZUAKt3mIB/oi9xXIkf863WUnpJRtFbF90lX0wYImrtI7D7YQS4Tk\n"
	    "kH1JzEeT15WFDiGvvJyp04+MRQQdzZTN/1oc0BqRTNW+eFqRh99CgR52FsC75u0C\n"
	    "AwEAAQ==\n"
	    "-----END PUBLIC KEY-----\n" },
	{ "P-384", "is none of",
	    "-----BEGIN PUBLIC KEY-----\n"
	    "MHYwEAYHKoZIzj0CAQYFK4EEACIDYgAEJzO5ZeLLDzmwo42bTcPv3QuoSQK1Jthf\n"
	    "8aEsC7mFXCplIqLp/g+v3krJA9uyyhVTcKN+18WhW+2jJ5qtBo9PlGDPgOE8AM4B\n"
	    "W4gG2EELozcBD7tJ+pn0QRfv/KeifC+F\n"
	    "-----END PUBLIC KEY-----\n" },
	{ "P-224", "is none of",
	    "-----BEGIN PUBLIC KEY-----\n"
	    "ME4wEAYHKoZIzj0CAQYFK4EEACEDOgAEpjzcfJaml9QQbFXzfZrKX4Mk2tQbOpTm\n"
	    "QcaiMyzMK3QUaI+o/5mH8evCWaD2z67DGXyS0XUyTLU=\n"
	    "-----END PUBLIC KEY-----\n" },
	{ "secp256k1", "is none of",
	    "-----BEGIN PUBLIC KEY-----\n"
	    "MFYwEAYHKoZIzj0CAQYFK4EEAAoDQgAEc+x0JZFFVkscIt38D6VpBMSDqaX4sUyk\n"
	    "nIWJWCL/LEr00BNx4xiHGmOKyPqBbh2M0QQ3/L5/eGUCSSsIgQt0EQ==\n"
	    "-----END PUBLIC KEY-----\n" },
	{ "a compressed point", "is none of",
	    "-----BEGIN PUBLIC KEY-----\n"
	    "MDkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDIgAD75mc4WR72LsKPD+UB+dyqpyUDH02\n"
	    "deECp/xvh+fKCQU=\n"
	    "-----END PUBLIC KEY-----\n" },
	{ "explicit parameters", "is none of",
	    "-----BEGIN PUBLIC KEY-----\n"
	    "MIIBSzCCAQMGByqGSM49AgEwgfcCAQEwLAYHKoZIzj0BAQIhAP////8AAAABAAAA\n"
	    "AAAAAAAAAAAA////////////////MFsEIP////8AAAABAAAAAAAAAAAAAAAA////\n"
	    "///////////8BCBaxjXYqjqT57PrvVV2mIa8ZR0GsMxTsPY7zjw+J9JgSwMVAMSd\n"
	    "NgiG5wSTamZ44ROdJreBn36QBEEEaxfR8uEsQkf4vOblY6RA8ncDfYEt6zOg9KE5\n"
	    "RdiYwpZP40Li/hp/m47n60p8D54WK84zV2sxXs7LtkBoN79R9QIhAP////8AAAAA\n"
	    "//////////+85vqtpxeehPO5ysL8YyVRAgEBA0IABGxpTFX24RGVzfDqD/apRrW+\n"
	    "mWittxTz6H4ZIae1Zc8HlgDsmB2y6ccMdGifqgBYjD9/+WFgXtD5hrIouKkVbrs=\n"
	    "-----END PUBLIC KEY-----\n" },
	{ "X25519", "is none of",
	    "-----BEGIN PUBLIC KEY-----\n"
	    "MCowBQYDK2VuAyEAUM+I7Jhm1XcaX7UrVJ7qhI8ISN5FAg7huAx3kRq8FBU=\n"
	    "-----END PUBLIC KEY-----\n" },
	{ "Ed448", "is none of",
	    "-----BEGIN PUBLIC KEY-----\n"
	    "MEMwBQYDK2VxAzoA6NBIMJLbnar/B0Ju8FVtfT7GEAJ+SjUB7YAvS4CQ7TO+6VtY\n"
	    "xbtR7dcFldqpNk8X8iZIdbdk77kA\n"
	    "-----END PUBLIC KEY-----\n" },
	{ "off the curve", "not on its curve",
	    "-----BEGIN PUBLIC KEY-----\n"
	    "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE75mc4WR72LsKPD+UB+dyqpyUDH02\n"
	    "deECp/xvh+fKCQWO9x2ftIV2tOmys8SsYburbGHjrZF7CaYVLVYVw0VVaA==\n"
	    "-----END PUBLIC KEY-----\n" },
	{ "P-256's zero", "not on its curve",
	    "-----BEGIN PUBLIC KEY-----\n"
	    "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n"
	    "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA==\n"
	    "-----END PUBLIC KEY-----\n" },
	{ "the point at infinity", "is none of",
	    "-----BEGIN PUBLIC KEY-----\n"
	    "MBkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDAgAA\n"
	    "-----END PUBLIC KEY-----\n" },
	{ "something behind it", "",
	    "-----BEGIN PUBLIC KEY-----\n"
	    "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE75mc4WR72LsKPD+UB+dyqpyUDH02\n"
	    "deECp/xvh+fKCQWO9x2ftIV2tOmys8SsYburbGHjrZF7CaYVLVYVw0VVaQA=\n"
	    "-----END PUBLIC KEY-----\n" },
	{ "a byte less", "",
	    "-----BEGIN PUBLIC KEY-----\n"
	    "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE75mc4WR72LsKPD+UB+dyqpyUDH02\n"
	    "deECp/xvh+fKCQWO9x2ftIV2tOmys8SsYburbGHjrZF7CaYVLVYVw0VV\n"
	    "-----END PUBLIC KEY-----\n" },
	{ "Ed25519's identity", "small order",
	    "-----BEGIN PUBLIC KEY-----\n"
	    "MCowBQYDK2VwAyEAAQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n"
	    "-----END PUBLIC KEY-----\n" },
	{ "a certificate", "certificate",
	    "-----BEGIN CERTIFICATE-----\n"
	    "sHWURL45nI+0qg/c923WVvcCq6l8JQx+zodJoIbj7CjmrSz8/ONITQ==\n"
	    "-----END CERTIFICATE-----\n" },
	{ "PRIVATE KEY", "private",
	    "-----BEGIN PRIVATE KEY-----\n"
	    "2YUROwxoZb0s9mGmecbJ+aTY2HVfbXN+ebx02NF772F/OaUT8Wigeg==\n"
	    "-----END PRIVATE KEY-----\n" },
	{ "EC PRIVATE KEY", "private",
	    "-----BEGIN EC PRIVATE KEY-----\n"
	    "21cU6fe8Bq+ov41JLydYxL2k9wtfAvKdJLb+oVwdjKREJMMybzHVEw==\n"
	    "-----END EC PRIVATE KEY-----\n" },
	{ "RSA PRIVATE KEY", "private",
	    "-----BEGIN RSA PRIVATE KEY-----\n"
	    "4EiGmVmmvSVaEu9U7ToCQaP0yqZ7fEO+8QdhsRJI7k1avAOfqNRYkQ==\n"
	    "-----END RSA PRIVATE KEY-----\n" },
	{ "ENCRYPTED PRIVATE KEY", "private",
	    "-----BEGIN ENCRYPTED PRIVATE KEY-----\n"
	    "rjApIq0uMQNL7H9743qHD9xCXXyzSs5ErFn2+KVLCKziFHoZPwwzsQ==\n"
	    "-----END ENCRYPTED PRIVATE KEY-----\n" },
	{ "OPENSSH PRIVATE KEY", "private",
	    "-----BEGIN OPENSSH PRIVATE KEY-----\n"
	    "M8K6N14t+6wXXVd98pF1SpyQeLXprjuEoWEZSR4l9HbKEEV3tQBidw==\n"
	    "-----END OPENSSH PRIVATE KEY-----\n" },
	{ "a private key behind the public one", "private",
	    "-----BEGIN PUBLIC KEY-----\n"
	    "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE75mc4WR72LsKPD+UB+dyqpyUDH02\n"
	    "deECp/xvh+fKCQWO9x2ftIV2tOmys8SsYburbGHjrZF7CaYVLVYVw0VVaQ==\n"
	    "-----END PUBLIC KEY-----\n"
	    "-----BEGIN PRIVATE KEY-----\n"
	    "3jxlxAg0Vh5j70j+/RfH5D5HkIzNDAIzGOnJT81yZvpli/oVTl2u7w==\n"
	    "-----END PRIVATE KEY-----\n" },
	{ "RSA PUBLIC KEY", "PKCS #1",
	    "-----BEGIN RSA PUBLIC KEY-----\n"
	    "Su8SeRAsewQ5fyJKuhx/dQQpkxOj0OTRJcCxgSTx1fettJ7+8TcPcw==\n"
	    "-----END RSA PUBLIC KEY-----\n" },
	{ "two of them", "neither",
	    "-----BEGIN PUBLIC KEY-----\n"
	    "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE75mc4WR72LsKPD+UB+dyqpyUDH02\n"
	    "deECp/xvh+fKCQWO9x2ftIV2tOmys8SsYburbGHjrZF7CaYVLVYVw0VVaQ==\n"
	    "-----END PUBLIC KEY-----\n"
	    "-----BEGIN PUBLIC KEY-----\n"
	    "MCowBQYDK2VwAyEASTD6bL/sScRwkOvXEchKmRwLZfqK4VkR5ZhEc5CVkEY=\n"
	    "-----END PUBLIC KEY-----\n" },
	{ "text before it", "neither",
	    "hello\n"
	    "-----BEGIN PUBLIC KEY-----\n"
	    "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE75mc4WR72LsKPD+UB+dyqpyUDH02\n"
	    "deECp/xvh+fKCQWO9x2ftIV2tOmys8SsYburbGHjrZF7CaYVLVYVw0VVaQ==\n"
	    "-----END PUBLIC KEY-----\n" },
	{ "text behind it", "neither",
	    "-----BEGIN PUBLIC KEY-----\n"
	    "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE75mc4WR72LsKPD+UB+dyqpyUDH02\n"
	    "deECp/xvh+fKCQWO9x2ftIV2tOmys8SsYburbGHjrZF7CaYVLVYVw0VVaQ==\n"
	    "-----END PUBLIC KEY-----\n"
	    "hello\n" },
	{ "another end", "neither",
	    "-----BEGIN PUBLIC KEY-----\n"
	    "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE75mc4WR72LsKPD+UB+dyqpyUDH02\n"
	    "deECp/xvh+fKCQWO9x2ftIV2tOmys8SsYburbGHjrZF7CaYVLVYVw0VVaQ==\n"
	    "-----END CERTIFICATE-----\n" },
	{ "no end", "neither",
	    "-----BEGIN PUBLIC KEY-----\n"
	    "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE75mc4WR72LsKPD+UB+dyqpyUDH02\n"
	    "deECp/xvh+fKCQWO9x2ftIV2tOmys8SsYburbGHjrZF7CaYVLVYVw0VVaQ==\n" },
	{ "nothing in it", "neither",
	    "-----BEGIN PUBLIC KEY-----\n"
	    "-----END PUBLIC KEY-----\n" },
	{ "base64url", "neither",
	    "-----BEGIN PUBLIC KEY-----\n"
	    "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE75mc4WR72LsKPD-UB-dyqpyUDH02\n"
	    "deECp_xvh-fKCQWO9x2ftIV2tOmys8SsYburbGHjrZF7CaYVLVYVw0VVaQ==\n"
	    "-----END PUBLIC KEY-----\n" },
	{ "no padding", "neither",
	    "-----BEGIN PUBLIC KEY-----\n"
	    "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE75mc4WR72LsKPD+UB+dyqpyUDH02\n"
	    "deECp/xvh+fKCQWO9x2ftIV2tOmys8SsYburbGHjrZF7CaYVLVYVw0VVaQ\n"
	    "-----END PUBLIC KEY-----\n" },
	{ "padding too much", "neither",
	    "-----BEGIN PUBLIC KEY-----\n"
	    "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE75mc4WR72LsKPD+UB+dyqpyUDH02\n"
	    "deECp/xvh+fKCQWO9x2ftIV2tOmys8SsYburbGHjrZF7CaYVLVYVw0VVaQ===\n"
	    "-----END PUBLIC KEY-----\n" },
	{ "a header", "neither",
	    "-----BEGIN PUBLIC KEY-----\n"
	    "Proc-Type: 4,ENCRYPTED\n"
	    "\n"
	    "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE75mc4WR72LsKPD+UB+dyqpyUDH02\n"
	    "deECp/xvh+fKCQWO9x2ftIV2tOmys8SsYburbGHjrZF7CaYVLVYVw0VVaQ==\n"
	    "-----END PUBLIC KEY-----\n" },
};
