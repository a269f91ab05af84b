// Command interop reads cases, one JSON object a line, and writes what go-tdx-guest (TDX quotes) and go-sev-guest
// (SEV-SNP reports) say of each.
package main

import (
	"bufio"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/url"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/google/go-sev-guest/abi"
	spb "github.com/google/go-sev-guest/proto/sevsnp"
	sev "github.com/google/go-sev-guest/verify"
	"github.com/google/go-sev-guest/verify/trust"
	tdx "github.com/google/go-tdx-guest/verify"
)

type testCase struct {
	ID         string `json:"id"`
	Kind       string `json:"kind"`
	Evidence   string `json:"evidence"`
	Collateral string `json:"collateral"`
	Root       string `json:"root"`
	Time       int64  `json:"time"`
	Product    string `json:"product"`
	Ark        string `json:"ark"`
	Ask        string `json:"ask"`
	Vek        string `json:"vek"`
	Vlek       bool   `json:"vlek"`
}

type result struct {
	ID       string `json:"id"`
	Verifier string `json:"verifier"`
	Verdict  string `json:"verdict"`
	Detail   string `json:"detail"`
}

// bundle is a QuoteCollateralV3 that answers as Intel's service does.
type bundle struct {
	PckCrlIssuerChain     string `json:"pck_crl_issuer_chain"`
	RootCaCrl             string `json:"root_ca_crl"`
	PckCrl                string `json:"pck_crl"`
	TcbInfoIssuerChain    string `json:"tcb_info_issuer_chain"`
	TcbInfo               string `json:"tcb_info"`
	TcbInfoSignature      string `json:"tcb_info_signature"`
	QeIdentityIssuerChain string `json:"qe_identity_issuer_chain"`
	QeIdentity            string `json:"qe_identity"`
	QeIdentitySignature   string `json:"qe_identity_signature"`
}

func (b *bundle) Get(address string) (map[string][]string, []byte, error) {
	switch {
	case strings.Contains(address, "/pckcrl"):
		body, err := hex.DecodeString(b.PckCrl)
		return chain("Sgx-Pck-Crl-Issuer-Chain", b.PckCrlIssuerChain), body, err
	case strings.Contains(address, "/qe/identity"):
		body := fmt.Sprintf(`{"enclaveIdentity":%s,"signature":"%s"}`, b.QeIdentity, b.QeIdentitySignature)
		return chain("Sgx-Enclave-Identity-Issuer-Chain", b.QeIdentityIssuerChain), []byte(body), nil
	case strings.Contains(address, "/tcb"):
		body := fmt.Sprintf(`{"tcbInfo":%s,"signature":"%s"}`, b.TcbInfo, b.TcbInfoSignature)
		return chain("Tcb-Info-Issuer-Chain", b.TcbInfoIssuerChain), []byte(body), nil
	default:
		body, err := hex.DecodeString(b.RootCaCrl)
		return nil, body, err
	}
}

// chain is a header with the certificates of a PEM text and nothing else, as the service writes it.
func chain(header, text string) map[string][]string {
	var out strings.Builder
	for rest := []byte(text); ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		out.Write(pem.EncodeToMemory(block))
	}
	return map[string][]string{header: {url.QueryEscape(out.String())}}
}

// status finds the TCB status that a refusal names.
var status = regexp.MustCompile(`"(OutOfDate|OutOfDateConfigurationNeeded|SWHardeningNeeded|ConfigurationNeeded|` +
	`ConfigurationAndSWHardeningNeeded|Revoked)"`)

func quote(c *testCase) (string, error) {
	raw, err := os.ReadFile(c.Evidence)
	if err != nil {
		return "", err
	}
	text, err := os.ReadFile(c.Collateral)
	if err != nil {
		return "", err
	}
	var collateral bundle
	if err := json.Unmarshal(text, &collateral); err != nil {
		return "", err
	}
	root, err := certificate(c.Root)
	if err != nil {
		return "", err
	}
	roots := x509.NewCertPool()
	roots.AddCert(root)
	err = tdx.RawTdxQuote(raw, &tdx.Options{
		CheckRevocations: true,
		GetCollateral:    true,
		Getter:           &collateral,
		Now:              time.Unix(c.Time, 0),
		TrustedRoots:     roots,
	})
	if err == nil {
		return "UpToDate", nil
	}
	if named := status.FindStringSubmatch(err.Error()); named != nil {
		return named[1], nil
	}
	return "", err
}

func certificate(path string) (*x509.Certificate, error) {
	der, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

func snp(c *testCase) (string, error) {
	raw, err := os.ReadFile(c.Evidence)
	if err != nil {
		return "", err
	}
	report, err := abi.ReportToProto(raw)
	if err != nil {
		return "", err
	}
	var ders [3][]byte
	for i, path := range []string{c.Vek, c.Ask, c.Ark} {
		if ders[i], err = os.ReadFile(path); err != nil {
			return "", err
		}
	}
	root := trust.AMDRootCertsProduct(c.Product)
	if err := root.Decode(ders[1], ders[2]); err != nil {
		return "", err
	}
	certificates := &spb.CertificateChain{VcekCert: ders[0], AskCert: ders[1], ArkCert: ders[2]}
	if c.Vlek {
		if root.ProductCerts.Asvk == nil {
			root.ProductCerts.Asvk = root.ProductCerts.Ask
		}
		certificates = &spb.CertificateChain{VlekCert: ders[0], AskCert: ders[1], ArkCert: ders[2]}
	}
	err = sev.SnpAttestation(&spb.Attestation{Report: report, CertificateChain: certificates}, &sev.Options{
		DisableCertFetching: true,
		Now:                 time.Unix(c.Time, 0),
		TrustedRoots:        map[string][]*trust.AMDRootCerts{c.Product: {root}},
	})
	if err != nil {
		return "", err
	}
	return "authentic", nil
}

func run() error {
	in := bufio.NewScanner(os.Stdin)
	out := json.NewEncoder(os.Stdout)
	for in.Scan() {
		var c testCase
		if err := json.Unmarshal(in.Bytes(), &c); err != nil {
			return err
		}
		r := result{ID: c.ID}
		var err error
		switch c.Kind {
		case "quote":
			r.Verifier = "go-tdx-guest"
			r.Verdict, err = quote(&c)
		case "snp":
			r.Verifier = "go-sev-guest"
			r.Verdict, err = snp(&c)
		default:
			return fmt.Errorf("unknown kind %q", c.Kind)
		}
		if err != nil {
			r.Verdict, r.Detail = "reject", err.Error()
		}
		if err := out.Encode(r); err != nil {
			return err
		}
	}
	return in.Err()
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
