import Testing

@Test func packageBuilds() { #expect(true) }
